"""Follows a rotation until it ends or needs a person."""

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from troth.cli.inputs.access import PersonalServer, refusal
from troth.cluster.api import Selection
from troth.cluster.errors import ApiError
from troth.cluster.informer import Informer
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

FINAL = frozenset({401, 403, 404})
"""Status codes of the API server that retries do not change."""


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
    keys = [each["fingerprint"] for each in status.get("tokenKeys") or []]
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


@dataclass
class _Latest:
    """The latest state that the informers have observed."""

    objects: dict[str, Manifest] = field(default_factory=dict)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    failure: ApiError | None = None

    def observe(self, manifest: Manifest) -> None:
        self.objects[manifest["kind"]] = manifest
        self.failure = None
        self.changed.set()

    def forget(self, kind: str, ref: Ref, version: int) -> None:
        del ref, version
        self.objects.pop(kind, None)
        self.changed.set()

    def known(self, selection: Selection) -> Collection[Ref]:
        found = self.objects.get(selection.kind)
        return () if found is None else (Ref.of(found),)

    def is_past(self, manifest: Manifest, version: int) -> bool:
        del manifest, version
        return False  # whatever the API server has counts

    def listed(self, selection: Selection, version: int) -> None:
        del selection, version

    def failed(self, selection: Selection, error: ApiError) -> None:
        if selection.kind == ROTATION:  # the user may not be allowed to read the target
            self.failure = error
            self.changed.set()


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
    latest = _Latest()
    informers = [
        Informer(server, _one(ROTATION, asked.rotation), latest, latest.failed),
        Informer(server, _one(asked.target["kind"], asked.target_ref), latest, latest.failed),
    ]
    tasks = [asyncio.create_task(informer.run()) for informer in informers]
    try:
        while True:
            await _news(latest, informers[0].synced, tasks)
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


async def _news(latest: _Latest, synced: asyncio.Event, tasks: list[asyncio.Task[None]]) -> None:
    """Wait for a change or the first sync. Raises the error of an informer that ended."""
    events = [latest.changed] if synced.is_set() else [latest.changed, synced]
    waits = {asyncio.create_task(event.wait()) for event in events}
    try:
        done, _ = await asyncio.wait({*waits, *tasks}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
    for task in done.intersection(tasks):
        task.result()
    latest.changed.clear()


def _one(kind: str, ref: Ref) -> Selection:
    return Selection(kind, ref.namespace, fields=f"metadata.name={ref.name}")
