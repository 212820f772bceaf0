"""Plan of a `CredentialRotation`: its status, and when the next rotation is due.

The plan has no steps. The plan of the target reads the requests of its rotations, with
`troth.planning.rotation.schedule`. This module reports the progress of the target, with one
function for each kind of target.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from troth.pki.certificates.leaf import Leaf
from troth.planning import verdicts
from troth.planning.brokers.admin_rotation import AdminState
from troth.planning.certificates.leaf import leaf_due, longest_overlap
from troth.planning.credential_rotation.view import CredentialRotationView, OutboundEndpoint, Target
from troth.planning.identity.credentials.at_brokers import CredentialState, credential_states
from troth.planning.identity.credentials.webhook_signing import signing_rotation
from troth.planning.identity.facts import View
from troth.planning.identity.restarts import plan_rollout
from troth.planning.parts import Part, assemble, ending
from troth.planning.plan import Plan
from troth.planning.rotation.schedule import due_at, overlap_of
from troth.planning.trust_domain.authority import plan_rotation
from troth.planning.trust_domain.facts import RotationView
from troth.planning.trust_domain.root_rotation import due_of
from troth.planning.trust_domain.root_rotation import made_at as root_made_at
from troth.planning.trust_domain.token_keys import key_due, plan_key_rotation
from troth.planning.webhooks.rotation import plan_secret
from troth.planning.webhooks.view import WebhookView
from troth.resources.metadata import is_terminating
from troth.resources.rotation.blockers import fitting
from troth.resources.rotation.spec import (
    CredentialPhase,
    CredentialRotation,
)
from troth.resources.rotation.windows import known_zone, next_open
from troth.resources.schema.scalars import format_duration, format_time
from troth.resources.trust_domain.status import RotationPhase
from troth.world.facts.objects import Fault, KnownAuthority
from troth.world.index.rotations import target_key
from troth.world.keys import Key

PHASES = {
    RotationPhase.IDLE: CredentialPhase.IDLE,
    RotationPhase.PREPARING: CredentialPhase.PREPARED,
    RotationPhase.DISTRIBUTING: CredentialPhase.PREPARED,
    RotationPhase.ACTIVATING: CredentialPhase.PREPARED,
    RotationPhase.REISSUING: CredentialPhase.OVERLAPPING,
    RotationPhase.RETIRING: CredentialPhase.RETIRING,
}
IDLE = RotationPhase.IDLE
ORDER = [phase for phase in RotationPhase if phase is not IDLE]
"""Phases of a handover, in their order."""
TERMINATES = "it no longer requests a rotation"
"""Consequence of deleting a rotation, for its status."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of a target's credential, or why it cannot be rotated."""

    phase: CredentialPhase = CredentialPhase.IDLE
    made_at: datetime | None = None
    due: datetime | None = None
    blockers: tuple[str, ...] = ()
    wait: timedelta | None = None
    fault: Fault | None = None


def plan_credential_rotation(known: CredentialRotationView) -> Plan:
    """Return the plan of a rotation: its status, and when it is due again."""
    key, rotation, now = known.key, known.rotation, known.moment.now
    if known.unreadable is not None:
        return verdicts.unreadable_plan(key, known.unreadable, now)
    if rotation is None:
        return Plan(key, "")
    if is_terminating(rotation):
        return assemble(key, rotation, (ending(rotation, TERMINATES),), now)
    part = _part(_progress(rotation, known), now)
    return assemble(key, rotation, (part,), now)


def _part(progress: Progress, now: datetime) -> Part:
    fault = progress.fault
    due = () if progress.due is None else (progress.due,)
    wait = () if progress.wait is None else (now + progress.wait,)
    return Part(
        (verdicts.false("Rotates", fault.reason, fault.message),) if fault else (),
        dues=(*due, *wait),
        status={
            "phase": progress.phase,
            "blockers": fitting(progress.blockers),
            "last_rotated": progress.made_at,
            "next_rotation": progress.due and progress.due.replace(microsecond=0),
        },
    )


def _progress(rotation: CredentialRotation, known: CredentialRotationView) -> Progress:
    key = target_key(rotation)
    if not known.allowed:
        message = (
            "a root is rotated only from Troth's own namespace; create this CredentialRotation "
            f"in namespace {known.own_namespace}"
        )
        return Progress(fault=Fault("NotFromHere", message))
    if known.target is None:
        return Progress(
            fault=Fault(
                "TargetMissing",
                f"{key} does not exist; create it, or delete this CredentialRotation",
            )
        )
    progress = _of_target(key, known.target)
    fault = _window_fault(rotation, known.moment.now)
    return replace(progress, fault=fault) if fault is not None else progress


def _of_target(key: Key, target: Target) -> Progress:
    match target:
        case RotationView():
            return _of_trust_domain(key, target)
        case View():
            return _of_service_identity(key, target)
        case AdminState():
            return _of_message_broker(target)
        case WebhookView():
            return _of_webhook_endpoint(target)
        case OutboundEndpoint():
            message = (
                f"{key} is outbound, which is not supported yet, so it has no secret to rotate; "
                "delete this CredentialRotation"
            )
            return Progress(fault=Fault("NothingToRotate", message))


def _window_fault(rotation: CredentialRotation, now: datetime) -> Fault | None:
    for window in rotation.spec.windows:
        if known_zone(window.time_zone) is None:
            message = (
                f"{window.time_zone} is not a time zone of the IANA database; write one such as "
                "Europe/Berlin"
            )
            return Fault("TimeZoneUnknown", message)
        if next_open([window], now) is None:
            message = (
                f"the window {window.cron} never opens, because no month in it has such a day; "
                "correct its cron expression"
            )
            return Fault("WindowNeverOpens", message)
    return None


def _of_trust_domain(key: Key, view: RotationView) -> Progress:
    domain, known, now = view.domain, view.authority, view.moment.now
    if known is None or known.authority is None:
        message = f"{key} has no usable authority; see its status"
        return Progress(fault=Fault("AwaitingCredential", message))
    handovers = (plan_rotation(view), plan_key_rotation(view))
    dues = (due_of(domain, known.authority, view.rotations, now), _token_key_due(view))
    waits = [each.wait for each in handovers if each.wait is not None]
    return Progress(
        phase=_least_advanced(each.phase for each in handovers),
        made_at=root_made_at(known.authority),
        due=min((due for due in dues if due is not None), default=None),
        blockers=tuple(blocker for each in handovers for blocker in each.blockers),
        wait=min(waits, default=None),
        fault=_given_ca_fault(view, known),
    )


def _token_key_due(view: RotationView) -> datetime | None:
    known = view.tokens
    if view.domain.spec.tokens is None or known is None or known.active is None:
        return None
    return key_due(view.domain, known.active, view.rotations, view.moment.now)


def _least_advanced(phases: Iterable[RotationPhase]) -> CredentialPhase:
    """Return the phase of the least advanced of the handovers that are under way."""
    return PHASES[min((each for each in phases if each in ORDER), key=ORDER.index, default=IDLE)]


def _given_ca_fault(view: RotationView, known: KnownAuthority) -> Fault | None:
    """Return a fault if a rotation is due that needs another given CA, which Troth cannot make."""
    reference, now = view.domain.spec.authority.secret_ref, view.moment.now
    if reference is None or known.authority is None or known.prepared:
        return None
    asked = due_at(view.rotations, root_made_at(known.authority), now)
    if asked is None or asked > now:
        return None
    message = (
        f"renewal was due at {format_time(asked)}; put another CA into Secret "
        f"{known.secret.ref.namespace}/{reference.name}"
    )
    return Fault("AwaitingGivenAuthority", message)


def _of_service_identity(key: Key, view: View) -> Progress:
    """Return the combined progress of an identity's credentials.

    They are its certificate, its broker credentials, and the signing key of a webhook gateway.
    """
    at_brokers = tuple(map(_at_broker, credential_states(view)))
    if view.certificate is not None:
        signing = _of_signing(view)
        return _together((_of_certificate(key, view), *at_brokers, *signing))
    if not at_brokers:
        message = (
            f"{key} has no certificate and no broker credential to rotate; delete this "
            "CredentialRotation, or set mtls or token there"
        )
        return Progress(fault=Fault("NothingToRotate", message))
    return _together(at_brokers)


def _of_message_broker(state: AdminState) -> Progress:
    return Progress(
        phase=state.phase,
        made_at=state.made_at,
        due=state.due,
        blockers=(state.fault.message,) if state.stuck and state.fault else (),
        wait=state.wait,
        fault=state.fault,
    )


def _of_webhook_endpoint(view: WebhookView) -> Progress:
    state = plan_secret(view)
    return Progress(
        phase=state.phase,
        made_at=state.current.made_at if state.current else None,
        due=state.due,
        blockers=state.blockers,
        wait=state.wait,
        fault=state.fault,
    )


def _together(parts: tuple[Progress, ...]) -> Progress:
    """Return the combined progress of credentials that are rotated together.

    The phase is that of the least advanced one under way, and `made_at` that of the oldest.
    """
    made = [each.made_at for each in parts if each.made_at is not None]
    dues = [each.due for each in parts if each.due is not None]
    waits = [each.wait for each in parts if each.wait is not None]
    under_way = [each.phase for each in parts if each.phase is not CredentialPhase.IDLE]
    return Progress(
        phase=min(under_way, key=list(CredentialPhase).index, default=CredentialPhase.IDLE),
        made_at=min(made, default=None),
        due=min(dues, default=None),
        blockers=tuple(blocker for each in parts for blocker in each.blockers),
        wait=min(waits, default=None),
        fault=next((each.fault for each in parts if each.fault is not None), None),
    )


def _of_signing(view: View) -> Iterator[Progress]:
    signing = signing_rotation(view)
    if signing is not None:
        yield Progress(
            phase=PHASES[signing.handover.phase],
            made_at=signing.made_at,
            due=signing.due,
            blockers=signing.handover.blockers,
            wait=signing.handover.wait,
        )


def _at_broker(state: CredentialState) -> Progress:
    fault = None
    if state.current is None:
        message = (
            f"the credential for MessageBroker {state.broker} is not issued yet; see the status"
        )
        fault = Fault("AwaitingCredential", f"{message} of the identity")
    return Progress(
        phase=state.phase,
        made_at=state.made_at,
        due=state.due,
        blockers=state.blockers,
        wait=state.wait,
        fault=fault,
    )


def _of_certificate(key: Key, view: View) -> Progress:
    identity, rotations = view.identity, view.rotations
    if view.secret is None or view.secret.leaf is None:
        message = f"{key} has no certificate yet; see its status"
        return Progress(fault=Fault("AwaitingCredential", message))
    leaf = view.secret.leaf
    restarts = plan_rollout(view) if identity.spec.on_rotation else None
    pending = restarts is not None and restarts.pending
    return Progress(
        phase=CredentialPhase.OVERLAPPING if pending else CredentialPhase.IDLE,
        made_at=leaf.issued_at,
        due=leaf_due(leaf, identity.metadata.uid, rotations, view.moment.now),
        blockers=(restarts.verdict.message,) if restarts and restarts.held_up else (),
        wait=restarts.wait if restarts else None,
        fault=_overlap_fault(leaf, rotations),
    )


def _overlap_fault(leaf: Leaf, rotations: Iterable[CredentialRotation]) -> Fault | None:
    longest = longest_overlap(leaf)
    if overlap_of(rotations) <= longest:
        return None
    message = (
        "overlap is limited to half of the certificate's lifetime; write an overlap of at most "
        f"{format_duration(longest)}"
    )
    return Fault("OverlapTooLong", message)
