"""Status entries of a policy's grants: whether the broker has each live grant, and why not.

Each check is a small pure function of one frozen input. The first check that fails decides, as in
`troth.trust.topics.checks`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from troth.planning.grants.dialects import rules_of, unsupported
from troth.planning.grants.view import PolicyView
from troth.resources.messaging.message_broker import BrokerMode, MessageBroker
from troth.resources.messaging.message_broker_status import (
    ALL_NAMESPACES,
    LISTED_NAMESPACES,
    every_client,
)
from troth.resources.messaging.topic_policy_status import EnforcedBy, GrantState, GrantStatus
from troth.resources.references import Ref
from troth.trust.declarations.topics.grant_entries import GrantEntry
from troth.trust.grants import Grant, Place, Rule
from troth.trust.topics.candidate import GrantObstacle
from troth.trust.topics.evaluation import TopicGrant
from troth.world.facts.broker import BrokerObservation, CredentialSecret, StoredLedger

GRANTS_IN_SYNC = "GrantsInSync"
"""Type of the condition on a policy's grants."""
GRANT_LIMIT = 512
"""Maximum number of entries in a status: any number of identities may name a policy."""
LONGEST_MESSAGE = 1024
_FROM_AN_OBSERVATION = frozenset({"BrokerUnreachable", "BrokerRefused"})


@dataclass(frozen=True, slots=True)
class LiveGrant:
    """Everything that decides whether the broker has a live grant.

    `before` is the grant's entry in the previous status.
    """

    broker: MessageBroker
    identity: Ref
    grant: Grant
    secret: CredentialSecret | None
    kept: StoredLedger | None
    look: BrokerObservation
    before: GrantStatus | None

    @property
    def rules(self) -> frozenset[Rule]:
        """Rules of the grant at its broker, empty if the broker cannot express it."""
        found = rules_of(self.broker.spec.type, self.grant)
        return found if isinstance(found, frozenset) else frozenset()

    @property
    def credential(self) -> tuple[Place, str] | None:
        """Place and fingerprint of the credential that the broker must have.

        None if the broker authenticates clients by certificate, or if there is no credential.
        """
        if self.broker.spec.by_certificate or self.secret is None or self.secret.current is None:
            return None
        current = self.secret.current
        return (self.grant.principal, current.slot), current.fingerprint

    @property
    def unseen(self) -> bool:
        """Whether the broker has neither been observed nor had a fault yet."""
        return self.look.observed is None and self.look.fault is None

    @property
    def awaited(self) -> GrantObstacle:
        """Obstacle of a grant that the broker does not have yet."""
        message = f"the grant is not applied at MessageBroker {self.broker.ref} yet"
        return GrantObstacle(GrantState.LIVE, "AwaitingBroker", message)

    @property
    def unrecorded(self) -> GrantObstacle:
        """Obstacle of a grant that the ledger does not have: no room, or not yet.

        The broker's status says who has no room, because a restart of Troth does not change that.
        """
        without = self.broker.status.namespaces_without_room or ()
        namespace = self.identity.namespace
        if namespace in without:
            message = (
                f"the ledger of MessageBroker {self.broker.ref} has no room for all that is "
                f"declared, and namespace {namespace} uses more than its share; remove grants of "
                "its identities, or move them to another MessageBroker (see docs/limits.md)"
            )
            return GrantObstacle(GrantState.LIVE, "ShareExceeded", message)
        if ALL_NAMESPACES in without or len(without) >= LISTED_NAMESPACES:
            message = (
                f"the ledger of MessageBroker {self.broker.ref} has no room for new grants; ask "
                "the broker's owner to remove grants, or to divide them over several "
                "MessageBrokers with their own principalPrefix (see docs/limits.md)"
            )
            return GrantObstacle(GrantState.LIVE, "LedgerFull", message)
        return self.awaited


def broker_is_served(broker: MessageBroker) -> GrantObstacle | None:
    """Check that Troth supports the broker."""
    fault = unsupported(broker)
    return None if fault is None else GrantObstacle(GrantState.REFUSED, fault.reason, fault.message)


def broker_is_enforced(broker: MessageBroker) -> GrantObstacle | None:
    """Check that Troth may change the broker."""
    if broker.spec.mode is BrokerMode.ENFORCE:
        return None
    message = f"MessageBroker {broker.ref} is only observed; set mode: Enforce there"
    return GrantObstacle(GrantState.LIVE, "BrokerObserved", message)


def broker_can_have_it(live: LiveGrant) -> GrantObstacle | None:
    """Check that the broker can express exactly this grant."""
    found = rules_of(live.broker.spec.type, live.grant)
    if isinstance(found, frozenset):
        return None
    return GrantObstacle(GrantState.REFUSED, "NotAtThisBroker", found)


def identity_has_credential(live: LiveGrant) -> GrantObstacle | None:
    """Check that the identity has its credential for the broker."""
    if live.broker.spec.by_certificate:
        return None
    secret = live.secret
    whose = secret and (secret.broker, secret.principal)
    if secret is not None and secret.intact and whose == (live.broker.ref, live.grant.principal):
        return None
    message = (
        f"the credential of {live.identity} for MessageBroker {live.broker.ref} is not issued "
        "yet; see the identity's status"
    )
    return GrantObstacle(GrantState.LIVE, "AwaitingCredential", message)


def last_observation_succeeded(live: LiveGrant) -> GrantObstacle | None:
    """Check that the broker had no fault at the last attempt.

    Until the first attempt, the fault in the previous status counts.
    """
    if live.unseen and live.before is not None and live.before.reason in _FROM_AN_OBSERVATION:
        return GrantObstacle(live.before.state, live.before.reason or "", live.before.message or "")
    fault = live.look.fault
    if fault is None:
        return None
    message = f"Troth cannot change MessageBroker {live.broker.ref}: {fault.message}"
    return GrantObstacle(GrantState.LIVE, "BrokerUnreachable", message)


def broker_accepted_it(live: LiveGrant) -> GrantObstacle | None:
    """Check that the broker has not rejected any part of the grant."""
    requested: list[Rule | Place] = [*sorted(live.rules)]
    if live.credential is not None:
        requested.insert(0, live.credential[0])
    refused = next((each for each in requested if each in live.look.failures), None)
    if refused is None:
        return None
    message = f"MessageBroker {live.broker.ref} rejected the change: {live.look.failures[refused]}"
    return GrantObstacle(GrantState.LIVE, "BrokerRefused", message)


def ledger_is_readable(live: LiveGrant) -> GrantObstacle | None:
    """Check that the ledger of what Troth created at the broker is readable."""
    fault = live.kept.fault if live.kept is not None else None
    return None if fault is None else GrantObstacle(GrantState.LIVE, fault.reason, fault.message)


def ledger_has_it(live: LiveGrant) -> GrantObstacle | None:
    """Check that the ledger has all rules of the grant, and the current credential."""
    if live.kept is None or not live.rules <= live.kept.ledger.rules:
        return live.unrecorded
    if live.credential is not None:
        place, fingerprint = live.credential
        if live.kept.ledger.credentials.get(place) != fingerprint:
            # credentials rotate although the ledger has no room for new principals
            rotates = live.grant.principal in live.kept.ledger.principals
            return live.awaited if rotates else live.unrecorded
    return None


def broker_has_it(live: LiveGrant) -> GrantObstacle | None:
    """Check that all rules and the credential were observed at the broker.

    Until the first observation, InSync in the previous status stays, because a restart of Troth
    changes nothing at the broker.
    """
    if live.unseen and live.before is not None and live.before.state is GrantState.IN_SYNC:
        return None
    seen = live.look.observed
    if seen is None or not live.rules <= seen.rules:
        return live.awaited
    if live.credential is not None and live.credential[0] not in seen.credentials:
        return live.awaited
    return None


def network_admits_it(live: LiveGrant) -> GrantObstacle | None:
    """Check that the broker's NetworkPolicy has room for the identity, as the broker's status says.

    A namespace of which several identities have no room is listed as a whole.
    """
    identity, without = live.identity, live.broker.status.clients_without_room or ()
    if str(identity) not in without and every_client(identity.namespace) not in without:
        return None
    message = (
        f"the NetworkPolicy of MessageBroker {live.broker.ref} has no room for all clients, and "
        f"namespace {identity.namespace} uses more than its share, so its newest identities cannot "
        "connect; remove grants of its identities, or move them to another MessageBroker (see "
        "docs/limits.md)"
    )
    return GrantObstacle(GrantState.LIVE, "ShareExceeded", message)


# An unreachable broker comes before a missing Secret: a Secret alone would not make the grant.
CHECKS: tuple[Callable[[LiveGrant], GrantObstacle | None], ...] = (
    lambda live: broker_is_served(live.broker),
    broker_can_have_it,
    lambda live: broker_is_enforced(live.broker),
    last_observation_succeeded,
    identity_has_credential,
    broker_accepted_it,
    ledger_is_readable,
    ledger_has_it,
    broker_has_it,
    network_admits_it,
)


def grant_statuses(
    view: PolicyView, enforced: Mapping[GrantEntry, EnforcedBy]
) -> tuple[GrantStatus, ...]:
    """Return the status entry of each grant, in the order of the grants.

    `enforced` has where the policy is enforced for its consumers.
    """
    before = {_place(each): each for each in view.policy.status.grants}
    found = ((each.entry, _entry(view, each, before)) for each in view.grants)
    return tuple(
        entry.model_copy(update={"enforcement": enforced.get(named)}) for named, entry in found
    )


def _entry(
    view: PolicyView, requested: TopicGrant, before: dict[tuple[object, ...], GrantStatus]
) -> GrantStatus:
    entry = GrantStatus(
        identity=str(requested.entry.identity),
        action=requested.entry.action,
        topic=requested.entry.topic or None,
        group=requested.entry.group or None,
        state=requested.state,
        reason=requested.reason or None,
        message=requested.message[:LONGEST_MESSAGE] or None,
    )
    if requested.state is not GrantState.LIVE:
        return entry
    assert view.broker is not None  # otherwise no grant is live
    assert requested.grant is not None
    live = LiveGrant(
        broker=view.broker,
        identity=requested.entry.identity,
        grant=requested.grant,
        secret=view.secrets.get(requested.entry.identity),
        kept=view.kept,
        look=view.look,
        before=before.get(_place(entry)),
    )
    obstacle = next(filter(None, (check(live) for check in CHECKS)), None)
    if obstacle is None:
        return entry.model_copy(update={"state": GrantState.IN_SYNC})
    found = {
        "state": obstacle.state,
        "reason": obstacle.reason,
        "message": obstacle.message[:LONGEST_MESSAGE],
    }
    return entry.model_copy(update=found)


def _place(entry: GrantStatus) -> tuple[object, ...]:
    return entry.identity, entry.action, entry.topic, entry.group
