"""Declared grants with their states."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from troth.resources.messaging.topic_policy_status import Action, GrantState
from troth.resources.references import Ref
from troth.trust.declarations.registry import Registry
from troth.trust.declarations.topics.grant_entries import GrantEntry, review_entry
from troth.trust.declarations.topics.messaging import Messaging
from troth.trust.grants import Grant
from troth.trust.topics.candidate import GrantCandidate, GrantObstacle, consented
from troth.trust.topics.checks import OF_ALL, obstacle_to
from troth.trust.topics.refusals import is_unlisted


@dataclass(frozen=True, slots=True)
class TopicGrant:
    """Grant that a policy declares, or that an identity requests from it, and its state.

    `grant` is the grant at the broker, None if it cannot be determined. If the state is live, the
    broker should have it; if suspended, the broker keeps what it has.
    """

    policy: Ref
    entry: GrantEntry
    grant: Grant | None
    state: GrantState
    reason: str = ""
    message: str = ""


def grants_of(registry: Registry, messaging: Messaging, policy: Ref) -> tuple[TopicGrant, ...]:
    """Return every grant of a policy, which need not exist, sorted.

    A grant that only one side declares is included, so that both can report the missing side.
    """
    everything = sorted(_everything(messaging, policy))
    return tuple(evaluate(GrantCandidate(registry, messaging, policy, each)) for each in everything)


def _everything(messaging: Messaging, policy: Ref) -> frozenset[GrantEntry]:
    entries = messaging.entries(policy)
    alone = (_alone(messaging, policy, user, entries) for user in messaging.users(policy))
    return entries.union(*alone)


def _alone(
    messaging: Messaging, policy: Ref, identity: Ref, entries: frozenset[GrantEntry]
) -> Iterator[GrantEntry]:
    """Yield the grants for which an identity names a policy that does not name the identity."""
    uses, declared = messaging.uses(identity), messaging.policies.get(policy)
    letters = None if declared is None else declared.spec.dead_letter
    for entry in (
        GrantEntry(identity, Action.PUBLISH),
        GrantEntry(identity, Action.CONSUME),
        review_entry(identity, letters),
    ):
        if policy in consented(uses, entry) and not any(
            (each.identity, each.action, each.purpose) == (identity, entry.action, entry.purpose)
            for each in entries
        ):
            yield entry


class GrantCache:
    """Cache of the grants of policies.

    Without it, evaluating grants took most of the time of all plans. The caller must `forget` the
    policies that a change affects.
    """

    def __init__(self, registry: Registry, messaging: Messaging) -> None:
        self._registry = registry
        self._messaging = messaging
        self._known: dict[Ref, tuple[TopicGrant, ...]] = {}

    def of(self, policy: Ref) -> tuple[TopicGrant, ...]:
        """Return every grant of a policy; see `grants_of`."""
        known = self._known.get(policy)
        if known is None:
            known = self._known[policy] = grants_of(self._registry, self._messaging, policy)
        return known

    def for_identity(self, identity: Ref) -> tuple[TopicGrant, ...]:
        """Return every grant of an identity, by any policy, sorted."""
        uses = self._messaging.uses(identity)
        policies = uses.policies | self._messaging.asking(identity)
        return tuple(
            each
            for policy in sorted(policies)
            for each in self.of(policy)
            if each.entry.identity == identity
        )

    def at(self, broker: Ref) -> Iterator[TopicGrant]:
        """Yield every grant of every policy of a broker, sorted."""
        for policy in sorted(self._messaging.at(broker)):
            yield from self.of(policy)

    def forget(self, policies: Iterable[Ref]) -> None:
        """Remove policies from the cache."""
        for policy in policies:
            self._known.pop(policy, None)

    def clear(self) -> None:
        """Clear the cache."""
        self._known.clear()


def obstacle_to_all(registry: Registry, messaging: Messaging, policy: Ref) -> GrantObstacle | None:
    """Return why no grant of a policy is live, for any identity.

    The checks need an identity, and use one in the policy's own namespace, whose other properties
    do not matter to them.
    """
    anybody = GrantCandidate(registry, messaging, policy, GrantEntry(policy, Action.PUBLISH))
    return next(filter(None, (check(anybody) for check in OF_ALL)), None)


def undecided(registry: Registry, messaging: Messaging, identities: Iterable[Ref]) -> set[Ref]:
    """Return those of these identities for which no grant may be removed at any broker.

    They may have grants by an unreadable policy, whose broker is unknown. An unreadable identity
    may name any policy. Of a namespace without a list, any identity and any policy may exist.
    """
    if not messaging.invalid_policies and not registry.unlisted_ones():
        return set()

    def unknown(policy: Ref) -> bool:
        invalid = policy in messaging.invalid_policies
        return invalid or is_unlisted(registry, messaging, policy)

    return {
        each
        for each in identities
        if registry.is_unreadable(each) or any(map(unknown, messaging.uses(each).policies))
    }


def evaluate(candidate: GrantCandidate) -> TopicGrant:
    """Return the grant with its state."""
    policy, entry, grant = candidate.policy, candidate.entry, candidate.grant
    obstacle = obstacle_to(candidate)
    if obstacle is None:
        return TopicGrant(policy, entry, grant, GrantState.LIVE)
    return TopicGrant(policy, entry, grant, obstacle.state, obstacle.reason, obstacle.message)
