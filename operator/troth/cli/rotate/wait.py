"""Follows a rotation until it ends or needs a person."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from troth.cli.inputs.access import PersonalServer, refusal
from troth.cli.inputs.latest import FINAL, Latest, one
from troth.cluster.watching.informer import Informer
from troth.resources.manifests import Manifest
from troth.resources.references import Ref
from troth.resources.rotation.spec import CredentialPhase
from troth.resources.schema.scalars import parse_moment
from troth.resources.trust_domain.status import RotationPhase

ROTATION = "CredentialRotation"
CREDENTIAL = {
    "ServiceIdentity": "CertificateIssued",
    "TrustDomain": "AuthorityReady",
    "MessageBroker": "AdminRotates",
    "WebhookEndpoint": "SecretAvailable",
}
"""The condition of each target kind that says whether its credential can be issued."""

COMPLAINTS = frozenset({"OverlapTooLong", "TimeZoneUnknown", "WindowNeverOpens"})
"""Reasons for Ready=False of a CredentialRotation that do not block a requested rotation."""


class End(Enum):
    """Outcome of a rotation."""

    DONE = "done"
    STALLED = "stalled"


@dataclass(frozen=True, slots=True)
class Followed:
    """What to wait for: a credential issued at `moment` or later, or the removal of a compromised
    root or token key.
    """

    rotation: Ref
    generation: int
    target: Manifest
    target_ref: Ref
    moment: datetime | None = None
    compromised: str = ""


@dataclass(frozen=True, slots=True)
class Sight:
    """State of a rotation at one moment."""

    phase: str
    blockers: tuple[str, ...]
    made: str = ""
    """When the credential in use was issued."""
    seen: bool = True
    """Whether the operator has observed the request."""
    end: End | None = None
    sentence: str = ""
    """What a person must do if it has stalled."""


def sight(asked: Followed, rotation: Manifest | None, target: Manifest | None) -> Sight:
    """Return the state of a rotation, from its CredentialRotation and its target."""
    if rotation is None:
        return Sight("", (), end=End.STALLED, sentence=f"{ROTATION} {asked.rotation} was deleted")
    status = rotation.get("status") or {}
    phase = status.get("phase", CredentialPhase.IDLE)
    made, blockers = status.get("lastRotated", ""), tuple(status.get("blockers") or ())
    if status.get("observedGeneration", 0) < asked.generation:
        return Sight(phase, blockers, made, seen=False)
    if phase == CredentialPhase.IDLE and _answered(asked, made, target):
        return Sight(phase, blockers, made, end=End.DONE)
    sentence = _taken_back(asked, rotation) or _stalled(rotation, target)
    return Sight(phase, blockers, made, end=End.STALLED if sentence else None, sentence=sentence)


def _answered(asked: Followed, made: str, target: Manifest | None) -> bool:
    if asked.moment is not None:
        return bool(made) and parse_moment(made) >= asked.moment
    status = (target or {}).get("status") or {}
    listed = [each["fingerprint"] for each in status.get("authorities") or []]
    others = ("tokenKeys", "retiredAuthorities", "retiredTokenKeys")
    keys = [each["fingerprint"] for part in others for each in status.get(part) or []]
    idle = (status.get("rotation") or {}).get("phase") == RotationPhase.IDLE
    # a domain that issues no tokens has no tokenRotation in its status
    idle = idle and (status.get("tokenRotation") or {}).get("phase") in (None, RotationPhase.IDLE)
    return idle and bool(listed) and asked.compromised[:16] not in (*listed, *keys)


def _taken_back(asked: Followed, rotation: Manifest) -> str:
    spec = rotation["spec"]
    if asked.moment is None:
        kept = spec.get("compromised") == asked.compromised
    else:
        kept = "requestedAt" in spec and parse_moment(spec["requestedAt"]) >= asked.moment
    return (
        ""
        if kept
        else f"{ROTATION} {asked.rotation} was changed and no longer requests this; run it again"
    )


def _stalled(rotation: Manifest, target: Manifest | None) -> str:
    """Return the message of what blocks the rotation or its target's credential, else empty."""
    if _is(rotation, "Stalled", "True") and _is(rotation, "Ready", "False"):
        ready = _condition(rotation, "Ready")
        if ready["reason"] not in COMPLAINTS:
            return str(ready["message"])
    if target is None:
        return ""
    type_ = CREDENTIAL[target["kind"]]
    if _is(target, "Stalled", "True") and _is(target, type_, "False"):
        return str(_condition(target, type_)["message"])
    return ""


def _is(resource: Manifest, type_: str, status: str) -> bool:
    return bool(_condition(resource, type_).get("status") == status)


def _condition(resource: Manifest, type_: str) -> Manifest:
    conditions = (resource.get("status") or {}).get("conditions") or []
    return next((each for each in conditions if each["type"] == type_), {})


async def follow(
    server: PersonalServer,
    asked: Followed,
    show: Callable[[Sight], None],
    trouble: Callable[[str], None],
) -> Sight:
    """Show each change of a rotation until it ends, and return its last state.

    While the API server cannot be reached, calls `trouble` and retries. Raises `ApiError` if the
    user may not read the rotation.
    """
    latest = Latest(ROTATION)
    informers = [
        Informer(server, one(ROTATION, asked.rotation), latest, latest.failed),
        Informer(server, one(asked.target["kind"], asked.target_ref), latest, latest.failed),
    ]
    tasks = [asyncio.create_task(informer.run()) for informer in informers]
    try:
        while True:
            await latest.news(informers[0].synced, tasks)
            if latest.failure is not None and latest.failure.status in FINAL:
                raise latest.failure
            if latest.failure is not None:
                trouble(refusal(latest.failure))
                continue
            if not informers[0].synced.is_set():
                continue
            target = latest.objects.get(asked.target["kind"])
            seen = sight(asked, latest.objects.get(ROTATION), target)
            show(seen)
            if seen.end is not None:
                return seen
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
