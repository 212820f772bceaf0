"""Kubernetes Events about transitions."""

import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from troth.pki.certificates.leaf import short
from troth.planning.grants.edges_validated import EDGES_VALIDATED
from troth.planning.plan import Plan
from troth.planning.steps.broker_credentials import ChangeCredential, CredentialChange
from troth.planning.steps.certificates import IssueLeaf, UpdatePublic
from troth.planning.steps.objects import Apply, RemoveLedger, Restart, SetFinalizers
from troth.planning.steps.signing_keys import UpdateIssuer
from troth.planning.steps.step import Step
from troth.planning.steps.webhooks import CompileEndpoint
from troth.reconcile.events import rotation as rotation_events
from troth.reconcile.events import token_keys as token_events
from troth.reconcile.events.notice import REPAIRED, Notice
from troth.resources.conditions import Truth
from troth.resources.metadata import API_VERSION
from troth.resources.references import Ref
from troth.world.facts.objects import Manifest
from troth.world.keys import status_key
from troth.world.world import World

NOTE_LIMIT = 1024
"""Maximum length of an Event's note in bytes, the API server's limit."""

ENDING = {
    "GatewayTrusted": "GatewayTrustEnding",
    "PeersVerified": "UnverifiedEnding",
    "UnsignedAccepted": "UnsignedEnding",
}
"""Conditions that warn before they end, and the reason that announces the end."""
ROTATING = {
    "TrustDomain": (rotation_events.of_trust_domain, token_events.of_token_keys),
    "CredentialRotation": (rotation_events.of_credential_rotation,),
}


def transitions(plan: Plan) -> Iterator[Notice]:
    """Yield what changed between a plan's previous status and its status.

    A first status is not a transition; only a stalled resource yields a notice then. Later, changes
    of Ready, new warnings, and new phases of a rotation each yield one.
    """
    before, after = plan.previous_status or {}, plan.status or {}
    yield from _readiness(_by_type(before), _by_type(after))
    if before:
        yield from _edges(_by_type(before).get(EDGES_VALIDATED), _by_type(after))
    for told in ROTATING.get(plan.key.kind, ()):
        yield from told(before, after)


def _readiness(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Notice]:
    ready, was = after.get("Ready"), before.get("Ready")
    if ready is None:
        return
    unwell = ready["status"] != Truth.TRUE
    if was is None:
        if unwell and after["Stalled"]["status"] == Truth.TRUE:
            yield Notice(ready["reason"], ready["message"], "Warning")
        return
    if (was["status"], was["reason"]) != (ready["status"], ready["reason"]):
        yield Notice(ready["reason"], ready["message"], "Warning" if unwell else "Normal")
    for type_, ending in ENDING.items():
        trust, trusted = after.get(type_), before.get(type_)
        if trust and trust["reason"] == ending and trust != trusted:
            yield Notice(ending, trust["message"], "Warning")


def _edges(was: Mapping[str, Any] | None, after: Mapping[str, Any]) -> Iterator[Notice]:
    """Yield a notice if a policy's clients are seen without the guard, or no longer are."""
    now = after.get(EDGES_VALIDATED)
    if now is None:
        return
    known = (was["status"], was["reason"]) if was is not None else None
    if now["status"] == Truth.FALSE and (now["status"], now["reason"]) != known:
        yield Notice(now["reason"], now["message"], "Warning")
    elif now["status"] == Truth.TRUE and known is not None and known[0] == Truth.FALSE:
        yield Notice(now["reason"], now["message"])


def repair(step: Step, plan: Plan) -> Notice | None:
    """Return the notice about a step that repairs, renews or restarts something that existed."""
    match step:
        case IssueLeaf() if "certificate" in (plan.previous_status or {}):
            what = f"{step.manifest['kind']} {step.manifest['metadata']['name']}"
            return Notice("Reissued", f"new key and certificate in {what}: {step.message}")
        case ChangeCredential(change=CredentialChange.ISSUE) if _had_credential(step, plan):
            note = (
                f"new credential in Secret {Ref.of(step.manifest)}: the previous one had been "
                "changed, "
            )
            return Notice("Reissued", note + "or is no longer usable")
        case Apply() | UpdatePublic() | CompileEndpoint():
            what = f"{step.manifest['kind']} {Ref.of(step.manifest)}"
            return Notice(REPAIRED, f"{what} differed from what is declared; Troth restored it")
        case UpdateIssuer():
            note = f"Secret {step.ref} differed from what is declared; Troth restored it"
            return Notice(REPAIRED, note)
        case Restart():
            return Notice("Restarted", step.message)
        case SetFinalizers() | RemoveLedger() if step.warning:
            return Notice("LeftBehind", step.warning, "Warning")
        case _:
            return None


def _had_credential(step: ChangeCredential, plan: Plan) -> bool:
    told = (plan.previous_status or {}).get("brokers") or ()
    return any(each["broker"] == str(step.request.broker) and "madeAt" in each for each in told)


def relabelled(step: IssueLeaf) -> Notice:
    """Return the notice about a Secret that seemed to be missing and had only lost its labels."""
    what = f"{step.manifest['kind']} {Ref.of(step.manifest)}"
    return Notice(REPAIRED, f"{what} had lost its labels; Troth restored them")


def has_new_leaf(step: IssueLeaf, plan: Plan, world: World) -> bool:
    """Return whether a Secret has another certificate than its identity's status names."""
    secret = world.secrets.get(Ref.of(step.manifest))
    leaf = secret.leaf if secret else None
    known = (plan.previous_status or {}).get("certificate") or {}
    return leaf is None or short(leaf.fingerprint) != known.get("fingerprint")


def event(plan: Plan, notice: Notice, instance: str, now: datetime) -> Manifest:
    """Return a notice as an `events.k8s.io/v1` Event."""
    key = status_key(plan.key)
    regarding = {
        "apiVersion": API_VERSION,
        "kind": key.kind,
        "name": key.ref.name,
        "uid": plan.uid,
    } | ({"namespace": key.ref.namespace} if key.ref.namespace else {})
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {
            # names sort by time, because kubectl falls back to ordering by name
            "name": f"{key.ref.name}.{_microseconds(now):x}{uuid.uuid4().hex[:6]}",
            "namespace": key.ref.namespace or "default",
        },
        "eventTime": now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "regarding": regarding,
        "reason": notice.reason,
        "note": notice.note.encode()[:NOTE_LIMIT].decode(errors="ignore"),
        "type": notice.type,
        "action": "Reconcile",
        "reportingController": "troth.dev/operator",
        "reportingInstance": instance,
    }


def _microseconds(now: datetime) -> int:
    return (now - datetime.fromtimestamp(0, UTC)) // timedelta(microseconds=1)


def _by_type(status: Mapping[str, Any]) -> dict[str, Any]:
    return {
        condition["type"]: {"message": "", **condition}
        for condition in status.get("conditions") or []
    }
