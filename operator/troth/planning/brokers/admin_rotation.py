"""Rotation of the credential with which Troth administers a broker.

The admin Secret belongs to a person. Troth writes it only if a `CredentialRotation` names the
broker. The state of a rotation follows from the content of the admin Secret and from the last
credential that Troth created, as the ledger records it:

- The Secret has that credential: it is in use, and Troth revokes the previous one after the
  overlap.
- The Secret has another credential: somebody else wrote it, or Troth stopped before it wrote the
  Secret. Troth revokes the credential that it created, and starts again if a rotation is still due.

Troth revokes a credential only by means of the one in the Secret, after an observation has shown
that the latter administers the broker.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from troth.brokers.protocol import AdminDialect
from troth.brokers.registry import DIALECTS
from troth.planning.moment import Moment
from troth.planning.rotation.schedule import due_at, overlap_of
from troth.planning.steps.brokers import AdminChange, ChangeAdminCredential
from troth.resources.messaging.message_broker import BrokerMode, MessageBroker
from troth.resources.references import Ref
from troth.resources.rotation.spec import CredentialPhase, CredentialRotation
from troth.world.facts.broker import AdminInUse, BrokerObservation, IssuedAdmin, StoredLedger
from troth.world.facts.objects import Fault

RETRY = 60.0
"""Seconds until a failed change is tried again."""
NOTHING = "NothingToRotate"


@dataclass(frozen=True, slots=True)
class AdminFacts:
    """What decides about the rotation of a broker's admin credential.

    `beside` are the other brokers with the same admin Secret, sorted.
    """

    broker: MessageBroker
    look: BrokerObservation
    kept: StoredLedger | None
    rotations: tuple[CredentialRotation, ...]
    beside: tuple[Ref, ...]


@dataclass(frozen=True, slots=True)
class AdminState:
    """State of a rotation, and the next step.

    `fault` is why the rotation cannot continue. `wait` is the time until the next change.
    """

    phase: CredentialPhase = CredentialPhase.IDLE
    made_at: datetime | None = None
    due: datetime | None = None
    step: ChangeAdminCredential | None = None
    wait: timedelta | None = None
    fault: Fault | None = None

    @property
    def stuck(self) -> bool:
        """Whether a rotation that is due or under way cannot continue."""
        return self.fault is not None and self.phase is not CredentialPhase.IDLE

    def dues(self, now: datetime) -> Iterator[datetime]:
        """Yield the times at which the broker is planned again."""
        if self.due is not None:
            yield self.due
        if self.wait is not None:
            # 1 ms later, because a due time is rounded to the clock's resolution
            yield now + self.wait + timedelta(milliseconds=1)


def plan_admin(known: AdminFacts, moment: Moment) -> AdminState:
    """Return the state of the rotation of a broker's admin credential."""
    broker, look, kept = known.broker, known.look, known.kept
    dialect = DIALECTS.get(broker.spec.type)
    if dialect is None:
        message = f"Troth does not support {broker.spec.type} yet; delete this CredentialRotation"
        return AdminState(fault=Fault(NOTHING, message))
    rotation = dialect.admin(broker)
    if isinstance(rotation, str):
        return AdminState(fault=Fault(NOTHING, rotation))
    if look.admin is None or look.observed is None:
        return AdminState(fault=_awaiting(broker, look))
    shown, made = look.admin, kept.ledger.admin if kept is not None else None
    if made is not None and shown.is_made(made):
        state = _in_use(broker, shown, made, overlap_of(known.rotations), moment.uptime)
    elif made is not None:
        state = _withdrawn(broker, shown, made)
    else:
        state = AdminState(made_at=shown.written_at)
    if state.step is None and state.wait is None:
        state = _scheduled(state, known, shown, rotation, moment.now)
    fault = _obstacle(known) or state.fault
    if fault is not None:
        return replace(state, step=None, fault=fault)
    return _retried(state, look, moment.uptime)


def _in_use(
    broker: MessageBroker, shown: AdminInUse, made: IssuedAdmin, overlap: timedelta, uptime: float
) -> AdminState:
    """Return the state if the Secret has the credential that Troth created."""
    if not made.replaces:
        return AdminState(made_at=made.made_at)
    left = overlap - timedelta(seconds=uptime - shown.since)
    if left > timedelta(0):
        return AdminState(CredentialPhase.OVERLAPPING, made.made_at, wait=left)
    step = ChangeAdminCredential(broker.ref, AdminChange.RETIRE, shown)
    return AdminState(CredentialPhase.RETIRING, made.made_at, step=step)


def _withdrawn(broker: MessageBroker, shown: AdminInUse, made: IssuedAdmin) -> AdminState:
    """Return the state if the Secret has another credential than Troth created."""
    begun = made.replaces and shown.place == made.before
    phase = CredentialPhase.PREPARED if begun else CredentialPhase.IDLE
    step = ChangeAdminCredential(broker.ref, AdminChange.WITHDRAW, shown)
    return AdminState(phase, shown.written_at, step=step)


def _scheduled(
    state: AdminState,
    known: AdminFacts,
    shown: AdminInUse,
    dialect: AdminDialect,
    now: datetime,
) -> AdminState:
    """Return the state with the time of the next rotation, and its step if that time has come."""
    broker = known.broker
    if shown.place is None:
        message = (
            f"Troth administers MessageBroker {broker.ref} with a certificate that it does not "
            "issue; put a renewed certificate into the admin Secret"
        )
        return replace(state, fault=Fault(NOTHING, message))
    assert state.made_at is not None
    due = due_at(known.rotations, state.made_at, now)
    if due is None or due > now:
        return replace(state, due=due)
    fault = _taken(dialect, shown, known.look) or _shared(known)
    step = ChangeAdminCredential(broker.ref, AdminChange.REPLACE, shown)
    return replace(state, due=due, phase=CredentialPhase.PREPARED, step=step, fault=fault)


def _obstacle(known: AdminFacts) -> Fault | None:
    """Return why Troth can change nothing at the broker."""
    broker, look, kept = known.broker, known.look, known.kept
    if look.fault is not None:
        return _awaiting(broker, look)
    if kept is not None and kept.fault is not None:
        return kept.fault
    if broker.spec.mode is not BrokerMode.ENFORCE:
        message = (
            f"MessageBroker {broker.ref} has mode {broker.spec.mode}, so Troth changes nothing "
            "there; set mode: Enforce"
        )
        return Fault("NotEnforced", message)
    return None


def _awaiting(broker: MessageBroker, look: BrokerObservation) -> Fault:
    message = f"Troth has not reached MessageBroker {broker.ref} yet"
    if look.fault is not None:
        message = f"Troth cannot administer MessageBroker {broker.ref}: {look.fault.message}"
    return Fault("AwaitingCredential", message)


def _taken(dialect: AdminDialect, shown: AdminInUse, look: BrokerObservation) -> Fault | None:
    """Return a fault if the user's other slot has a foreign credential."""
    assert shown.place is not None
    user, slot = shown.place
    if look.observed is None or (user, slot.other) not in look.observed.credentials:
        return None
    return Fault("MechanismTaken", dialect.slot_taken(user))


def _shared(known: AdminFacts) -> Fault | None:
    """Return a fault if another broker uses the same admin Secret.

    A rotation for one broker would not wait for the other.
    """
    for ref in known.beside:
        message = (
            f"MessageBroker {ref} uses the admin Secret {known.broker.admin_secret.name} too; give "
            "each MessageBroker its own Secret, with its own user"
        )
        return Fault("AdminSecretShared", message)
    return None


def _retried(state: AdminState, look: BrokerObservation, uptime: float) -> AdminState:
    """Return the state with the fault of a step that failed.

    The step waits until `RETRY` seconds have passed since the failure.
    """
    left = look.admin_tried_at + RETRY - uptime
    if state.step is None or look.admin_fault is None:
        return state
    step = state.step if left <= 0 else None
    wait = timedelta(seconds=max(left, 0.0)) or None
    return replace(state, step=step, wait=wait, fault=look.admin_fault)
