"""An identity's credentials at brokers: a Secret with its credential at each broker.

A credential is due if the identity has a live grant at the broker. It stays while the state of the
grants is unknown. Troth creates the first credential before the broker has it. After that, clients
see only credentials that the broker already has.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

from troth.brokers.protocol import CredentialRequest
from troth.planning import verdicts
from troth.planning.brokers.leftovers import leftovers
from troth.planning.identity.credentials.broker_handover import (
    BrokerCredential,
    phase_of,
    plan_handover,
)
from troth.planning.identity.credentials.view import BrokerUse
from troth.planning.identity.facts import View
from troth.planning.owned_objects import is_child, metadata_of, rechecks, taken
from troth.planning.parts import Part, fails_closed, unplanned
from troth.planning.reasons.condition import Course
from troth.planning.reasons.table import course
from troth.planning.rotation.handover import Handover
from troth.planning.rotation.schedule import due_at
from troth.planning.steps.broker_credentials import ChangeCredential, CredentialChange
from troth.planning.steps.step import Step
from troth.resources.conditions import Truth, Verdict
from troth.resources.identity.status import MOST_BROKERS, BrokerCredentialStatus
from troth.resources.messaging.message_broker import MessageBroker
from troth.resources.references import Ref
from troth.resources.rotation.spec import CredentialPhase
from troth.resources.trust_domain.status import RotationPhase
from troth.trust.topics.candidate import principal_of
from troth.world.facts.broker import BrokerObservation, CredentialSecret, SlotCredential
from troth.world.facts.objects import Fault
from troth.world.index.brokers import credential_ref
from troth.world.observation.broker_secrets import ACCOUNT, TYPE, public_data

CREDENTIALS_ISSUED = "CredentialsIssued"
ISSUED = verdicts.true(CREDENTIALS_ISSUED, "Issued", "the credentials for all brokers are in place")
ISSUING = verdicts.false(CREDENTIALS_ISSUED, "Issuing", "a broker credential is being issued")


@dataclass(frozen=True, slots=True)
class CredentialState:
    """State of an identity's credential at one broker, and the next step.

    `current` is None while there is no usable credential. `due` is the time of the next rotation.
    `rechecks` is when to check again whether the Secret's name is free. `wait` is the time until
    the next change.
    """

    broker: Ref
    principal: str
    secret: Ref
    verdict: Verdict = ISSUED
    step: Step | None = None
    current: SlotCredential | None = None
    phase: CredentialPhase = CredentialPhase.IDLE
    due: datetime | None = None
    rechecks: tuple[datetime, ...] = ()
    wait: timedelta | None = None
    blockers: tuple[str, ...] = ()

    @property
    def made_at(self) -> datetime | None:
        """Time at which the current credential was created."""
        return self.current.made_at if self.current is not None else None

    @property
    def entry(self) -> BrokerCredentialStatus:
        """Entry of the identity's status."""
        return BrokerCredentialStatus(
            broker=str(self.broker),
            principal=self.principal,
            secret=self.secret.name,
            made_at=self.made_at,
            phase=self.phase,
        )

    def dues(self, now: datetime) -> Iterator[datetime]:
        """Yield the times at which the identity is planned again."""
        yield from self.rechecks
        if self.due is not None:
            yield self.due
        if self.wait is not None:
            yield now + self.wait


@fails_closed(unplanned(CREDENTIALS_ISSUED))
def plan_broker_credentials(view: View) -> Part:
    """Return the condition of an identity's credentials at brokers, and the steps that are due.

    The condition is the most urgent one: a fault that needs a person comes first, then one that
    ends by itself. Troth removes a Secret when nothing is granted any more and no grant outlives
    its policy. If reading the identity failed, grants may be missing, so nothing changes.
    """
    if view.errors:
        return Part()
    states = credential_states(view)
    removals = leftovers(view.identity.ref, view.credentials.leftovers, view.registry)
    return Part(
        tuple(sorted((each.verdict for each in states), key=_urgency)[:1]),
        (*(each.step for each in states if each.step is not None), *removals),
        tuple(due for each in states for due in each.dues(view.moment.now)),
        {"brokers": tuple(each.entry for each in states[:MOST_BROKERS])},
    )


def credential_states(view: View) -> tuple[CredentialState, ...]:
    """Return the states of an identity's credentials at brokers.

    Troth creates no credential for a broker that authenticates clients by certificate, or whose
    mode is not Enforce.
    """
    known = view.credentials
    found = (_state(each, known.holders[each.secret.ref], view) for each in known.uses)
    return tuple(each for each in found if each is not None)


def _urgency(verdict: Verdict) -> int:
    if verdict.status is Truth.TRUE:
        return 2
    return 0 if course("ServiceIdentity", verdict) is Course.STAYS else 1


def _state(use: BrokerUse, holder: Ref, view: View) -> CredentialState | None:
    """Return the state of the credential at one broker, None if there is none and none is due.

    `holder` is the broker that the Secret is for.
    """
    secret, principal = use.secret.fact, principal_of(use.uses.broker, view.identity.ref)
    state = CredentialState(use.broker, principal, use.secret.ref)
    if secret is not None and _is_good(secret, use.broker, principal, view):
        phase = phase_of(secret, principal, use.ledger)
        state = replace(state, current=secret.current, phase=phase)
    if not use.is_due:
        return state if state.current else None
    obstacle = use.uses.fault or _occupied(use, holder, view)
    if obstacle is not None:
        verdict = verdicts.false(CREDENTIALS_ISSUED, obstacle.reason, obstacle.message)
        return replace(state, verdict=verdict, rechecks=rechecks(use.secret))
    return _kept(state, use, view)


def _is_good(secret: CredentialSecret, broker: Ref, principal: str, view: View) -> bool:
    """Return whether a Secret is the identity's, intact, and for this broker."""
    return (
        secret.intact
        and is_child(secret, view.identity)
        and (secret.broker, secret.principal) == (broker, principal)
    )


def _occupied(use: BrokerUse, holder: Ref, view: View) -> Fault | None:
    """Return why a credential cannot be written to its Secret."""
    ref = use.secret.ref
    if use.is_other:
        message = (
            f"Secret {ref} exists but is not a broker credential, so it was not changed; delete it"
        )
        return Fault("Conflict", message)
    if holder != use.broker:
        message = (
            f"Secret {ref} is for MessageBroker {holder}, which has the same name as {use.broker}; "
            "rename one of them"
        )
        return Fault("Conflict", message)
    return taken(use.secret, view.identity, view.moment.now)


def _kept(state: CredentialState, use: BrokerUse, view: View) -> CredentialState:
    """Return the state of a credential that is due, with the step that creates or rotates it."""
    broker, look, secret = use.uses.broker, use.look, use.secret.fact
    if look.observed is None:  # the roots that clients must trust are unknown too
        return state if state.current else replace(state, verdict=_awaiting(broker, look))
    request = CredentialRequest(
        broker=broker.ref,
        type=broker.spec.type,
        principal=state.principal,
        servers=broker.spec.servers,
        authorities=look.authorities,
        account=broker.spec.described.principal_part,
    )
    step = partial(_step, secret, request, view)
    refusal = verdicts.faulty(CREDENTIALS_ISSUED, use.secret.write_fault)
    if secret is None or state.current is None or _of_another_account(secret, request):
        return replace(state, step=step(CredentialChange.ISSUE), verdict=refusal or ISSUING)
    due = due_at(view.rotations, state.current.made_at, view.moment.now)
    if _stale(secret, request, view):
        verdict = refusal or ISSUED
        return replace(state, step=step(CredentialChange.REFRESH), verdict=verdict, due=due)
    assert view.domain is not None  # otherwise no grant is live
    credential = BrokerCredential(
        broker=broker.ref,
        principal=state.principal,
        secret=secret,
        current=state.current,
        ledger=use.ledger,
        rotations=view.rotations,
        propagation=view.domain.spec.bundle.propagation,
        step=step,
    )
    handover = plan_handover(credential, view.moment)
    return replace(
        state,
        verdict=refusal if refusal and handover.step else ISSUED,
        step=handover.step,
        due=due,
        wait=handover.wait,
        blockers=_blockers(handover, broker, look),
    )


def _awaiting(broker: MessageBroker, look: BrokerObservation) -> Verdict:
    message = f"Troth has not reached MessageBroker {broker.ref} yet"
    if look.fault is not None:
        message += f": {look.fault.message}"
    return verdicts.false(CREDENTIALS_ISSUED, "AwaitingBroker", message)


def _blockers(
    handover: Handover, broker: MessageBroker, look: BrokerObservation
) -> tuple[str, ...]:
    """Return what blocks a rotation: the broker while it has a fault, or no room in its ledger."""
    if look.fault is not None:
        cause = look.fault.message
    elif broker.status.rotations_without_room and handover.phase is RotationPhase.DISTRIBUTING:
        cause = (
            "its ledger has no room for it; ask the broker's owner to remove grants, or to divide "
            "them over several MessageBrokers with their own principalPrefix (see docs/limits.md)"
        )
    else:
        return ()
    return tuple(f"{each}: {cause}" for each in handover.blockers)


def _of_another_account(secret: CredentialSecret, request: CredentialRequest) -> bool:
    """Return whether a credential belongs to an account that the broker no longer uses."""
    return secret.public.get(ACCOUNT, "") != request.account


def _stale(secret: CredentialSecret, request: CredentialRequest, view: View) -> bool:
    """Return whether the Secret's labels or its data besides the credential are outdated."""
    labels = metadata_of(secret.ref, view.identity)["labels"]
    return secret.public != public_data(request) or any(
        secret.labels.get(key) != value for key, value in labels.items()
    )


def _step(
    secret: CredentialSecret | None,
    request: CredentialRequest,
    view: View,
    change: CredentialChange,
) -> ChangeCredential:
    ref = credential_ref(view.identity.ref, request.broker)
    return ChangeCredential(
        manifest={
            "apiVersion": "v1",
            "kind": "Secret",
            "type": TYPE,
            "metadata": metadata_of(ref, view.identity),
        },
        uid=secret.uid if secret else "",
        resource_version=secret.resource_version if secret else "",
        change=change,
        request=request,
    )
