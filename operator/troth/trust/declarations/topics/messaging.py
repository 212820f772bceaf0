"""Index of the declared brokers and policies, so that every query is a lookup."""

from collections.abc import Iterable, KeysView
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from troth.resources.identity.spec import ServiceIdentity
from troth.resources.messaging.message_broker import MessageBroker, Place
from troth.resources.messaging.topic_policy import TopicPolicy
from troth.resources.messaging.topic_policy_status import PolicyClaim
from troth.resources.references import Ref
from troth.trust.declarations.topics.grant_entries import GrantEntry, entries_of
from troth.trust.declarations.topics.index import TopicIndex
from troth.trust.declarations.topics.reviews import Reviews
from troth.trust.grants import Topic
from troth.trust.multimap import Multimap


@dataclass(frozen=True, slots=True)
class Uses:
    """Policies that an identity lists under `publishes`, `consumes` and `reviews`."""

    publishes: frozenset[Ref] = frozenset()
    consumes: frozenset[Ref] = frozenset()
    reviews: frozenset[Ref] = frozenset()

    @property
    def policies(self) -> frozenset[Ref]:
        """Every policy that the identity names."""
        return self.publishes | self.consumes | self.reviews


NOTHING = Uses()


def uses_of(identity: ServiceIdentity) -> Uses:
    """Return the policies that an identity names."""
    here, spec = identity.ref.namespace, identity.spec
    return Uses(
        frozenset(each.policy.seen_from(here) for each in spec.publishes),
        frozenset(each.policy.seen_from(here) for each in spec.consumes),
        frozenset(each.policy.seen_from(here) for each in spec.reviews),
    )


class Messaging:
    """Declared brokers and policies, and the policies that each identity names."""

    def __init__(self) -> None:
        self.brokers: dict[Ref, MessageBroker] = {}
        self.policies: dict[Ref, TopicPolicy] = {}
        self.invalid_brokers: dict[Ref, str] = {}
        self.invalid_policies: dict[Ref, str] = {}
        self.unread_claims: dict[Ref, tuple[PolicyClaim, ...]] = {}
        """Accepted claims of invalid policies."""
        self._asked: dict[Ref, frozenset[GrantEntry]] = {}
        self._uses: dict[Ref, Uses] = {}
        self._users = Multimap[Ref, Ref]()
        self._asking = Multimap[Ref, Ref]()
        self._at: dict[Ref, Multimap[str, Ref]] = {}
        self._by_group = Multimap[tuple[Ref, str], tuple[Ref, GrantEntry]]()
        self._by_stream = Multimap[tuple[Ref, str], Ref]()
        self._by_reviewed_stream = Multimap[tuple[Ref, str], Ref]()
        self._by_topic = TopicIndex()
        self._by_retry = TopicIndex()
        self._by_schema = Multimap[Ref, Ref]()
        self._in_place = Multimap[Place, Ref]()
        self._by_admin = Multimap[Ref, Ref]()
        self.reviews = Reviews()

    # Changes

    def put_broker(self, broker: MessageBroker) -> None:
        """Add or replace a broker."""
        self.drop_broker(broker.ref)
        self.brokers[broker.ref] = broker
        self._by_admin.add(broker.admin_secret, broker.ref)
        for place in _places(broker):
            self._in_place.add(place, broker.ref)

    def refuse_broker(self, ref: Ref, sentence: str) -> None:
        """Add a broker that exists but is invalid."""
        self.drop_broker(ref)
        self.invalid_brokers[ref] = sentence

    def drop_broker(self, ref: Ref) -> None:
        """Remove a broker."""
        self.invalid_brokers.pop(ref, None)
        before = self.brokers.pop(ref, None)
        if before is not None:
            self._by_admin.discard(before.admin_secret, ref)
            for place in _places(before):
                self._in_place.discard(place, ref)

    def put_policy(self, policy: TopicPolicy) -> None:
        """Add or replace a policy."""
        self.drop_policy(policy.ref)
        self.policies[policy.ref] = policy
        self._asked[policy.ref] = entries_of(policy)
        self._at.setdefault(policy.broker, Multimap()).add(policy.spec.environment, policy.ref)
        if policy.schema_map is not None:
            self._by_schema.add(policy.schema_map, policy.ref)
        for stream in streams_of(policy):
            self._by_stream.add((policy.broker, stream), policy.ref)
        for stream in reviewed_streams_of(policy):
            self._by_reviewed_stream.add((policy.broker, stream), policy.ref)
        for topic in topics_of(policy):
            self._by_topic.add(policy.broker, topic, policy.ref)
        for topic in retry_topics_of(policy):
            self._by_retry.add(policy.broker, topic, policy.ref)
        for each in self._asked[policy.ref]:
            self._by_group.add((policy.broker, each.group), (policy.ref, each))
            self._asking.add(each.identity, policy.ref)

    def refuse_policy(self, ref: Ref, sentence: str, claims: tuple[PolicyClaim, ...] = ()) -> None:
        """Add a policy that exists but is invalid. It keeps its accepted claims."""
        self.drop_policy(ref)
        self.invalid_policies[ref] = sentence
        if claims:
            self.unread_claims[ref] = claims

    def drop_policy(self, ref: Ref) -> None:
        """Remove a policy."""
        self.invalid_policies.pop(ref, None)
        self.unread_claims.pop(ref, None)
        before = self.policies.pop(ref, None)
        if before is not None:
            for stream in streams_of(before):
                self._by_stream.discard((before.broker, stream), ref)
            for stream in reviewed_streams_of(before):
                self._by_reviewed_stream.discard((before.broker, stream), ref)
            for topic in topics_of(before):
                self._by_topic.discard(before.broker, topic, ref)
            for topic in retry_topics_of(before):
                self._by_retry.discard(before.broker, topic, ref)
            for each in self._asked.pop(ref):
                self._by_group.discard((before.broker, each.group), (ref, each))
                self._asking.discard(each.identity, ref)
            at = self._at[before.broker]
            at.discard(before.spec.environment, ref)
            if not at.keys():
                del self._at[before.broker]
            if before.schema_map is not None:
                self._by_schema.discard(before.schema_map, ref)

    def put_uses(self, identity: Ref, uses: Uses) -> None:
        """Set the policies that an identity names; `Uses()` if it names none or was deleted."""
        before = self._uses.pop(identity, NOTHING)
        for policy in before.policies:
            self._users.discard(policy, identity)
        if uses != NOTHING:
            self._uses[identity] = uses
        for policy in uses.policies:
            self._users.add(policy, identity)

    # Queries

    def entries(self, policy: Ref) -> frozenset[GrantEntry]:
        """Return every grant that a policy declares, none if it does not exist."""
        return self._asked.get(policy, frozenset())

    def uses(self, identity: Ref) -> Uses:
        """Return the policies that an identity names."""
        return self._uses.get(identity, NOTHING)

    def using(self) -> KeysView[Ref]:
        """Return the identities that name any policy."""
        return self._uses.keys()

    def users(self, policy: Ref) -> frozenset[Ref]:
        """Return the identities that name a policy, which need not exist."""
        return frozenset(self._users.of(policy))

    def asking(self, identity: Ref) -> frozenset[Ref]:
        """Return the policies that name an identity, which need not exist."""
        return frozenset(self._asking.of(identity))

    def at(self, broker: Ref) -> frozenset[Ref]:
        """Return the policies of a broker, which need not exist."""
        return frozenset(ref for _, refs in self._policies_at(broker) for ref in refs)

    def _policies_at(self, broker: Ref) -> Iterable[tuple[str, AbstractSet[Ref]]]:
        """Return the policies of a broker by the environment that they declare."""
        at = self._at.get(broker)
        return at.items() if at is not None else ()

    def with_schema_in(self, config_map: Ref) -> frozenset[Ref]:
        """Return the policies whose schema is in a ConfigMap, which need not exist."""
        return frozenset(self._by_schema.of(config_map))

    def by_group(self, broker: Ref, group: str) -> frozenset[tuple[Ref, GrantEntry]]:
        """Return the grants to consume with a group at a broker, each with its policy."""
        return frozenset(self._by_group.of((broker, group)))

    def by_stream(self, broker: Ref, stream: str) -> frozenset[Ref]:
        """Return the policies that name a stream at a broker."""
        return frozenset(self._by_stream.of((broker, stream)))

    def by_reviewed_stream(self, broker: Ref, stream: str) -> frozenset[Ref]:
        """Return the policies whose reviewer reads a stream at a broker."""
        return frozenset(self._by_reviewed_stream.of((broker, stream)))

    def by_topic(self, broker: Ref, topic: Topic) -> frozenset[Ref]:
        """Return the policies of a broker that grant anything on a topic, or on a part of it."""
        return self._by_topic.meeting(broker, topic)

    def by_retry_topic(self, broker: Ref, topic: Topic) -> frozenset[Ref]:
        """Return the policies of a broker with a retry topic that a topic includes."""
        return self._by_retry.meeting(broker, topic)

    def beside(self, broker: MessageBroker) -> list[Ref]:
        """Return the other brokers with the same admin Secret, sorted."""
        return sorted(self._by_admin.of(broker.admin_secret) - {broker.ref})

    def found_at(self, places: Iterable[Place]) -> list[MessageBroker]:
        """Return the brokers at any of these places, sorted."""
        found = set[Ref]().union(*map(self._in_place.of, places))
        return [self.brokers[ref] for ref in sorted(found)]


def _places(broker: MessageBroker) -> frozenset[Place]:
    """Return where a broker has its topics and principals."""
    return frozenset(broker.spec.topic_places | broker.spec.principal_places)


def topic_of(policy: TopicPolicy) -> Topic:
    """Return the topic of a policy."""
    named = policy.spec.topic
    if named.name is not None:
        return Topic(named.name)
    assert named.prefix is not None
    return Topic(named.prefix, prefix=True)


def topic_for(policy: TopicPolicy, entry: GrantEntry) -> Topic | None:
    """Return the topic of a grant, None if the policy does not declare one for its purpose."""
    if entry.topic:
        return Topic(entry.topic)
    return topic_of(policy) if entry.purpose.may_be_on_own_topic else None


def stream_for(policy: TopicPolicy, entry: GrantEntry) -> str:
    """Return the stream of the topic of a grant, "" if there is none or the grant needs none."""
    if entry.topic or not entry.purpose.may_be_on_own_topic:
        return entry.stream
    return policy.spec.topic.stream or ""


def topics_of(policy: TopicPolicy) -> tuple[Topic, ...]:
    """Return every topic on which a policy grants anything."""
    dead_letter = policy.spec.dead_letter
    letters = [] if dead_letter is None else [Topic(dead_letter.topic)]
    return (topic_of(policy), *letters, *retry_topics_of(policy))


def retry_topics_of(policy: TopicPolicy) -> tuple[Topic, ...]:
    """Return the retry topics of all consumers of a policy, sorted."""
    retries = {each.retry.topic for each in policy.spec.consumers if each.retry is not None}
    return tuple(map(Topic, sorted(retries)))


def streams_of(policy: TopicPolicy) -> frozenset[str]:
    """Return every stream that a policy names."""
    spec = policy.spec
    named = [spec.topic.stream, spec.dead_letter.stream if spec.dead_letter is not None else None]
    named += [each.retry.stream for each in spec.consumers if each.retry is not None]
    return frozenset(filter(None, named))


def reviewed_streams_of(policy: TopicPolicy) -> frozenset[str]:
    """Return the stream of the dead letters of a policy with a reviewer, none without one."""
    letters = policy.spec.dead_letter
    if letters is None or letters.reviewer is None or letters.stream is None:
        return frozenset()
    return frozenset((letters.stream,))


def meet(first: Topic, second: Topic) -> bool:
    """Return whether any topic is covered by both."""
    return _includes(first, second) or _includes(second, first)


def share_group(
    first: tuple[TopicPolicy, GrantEntry],
    second: tuple[TopicPolicy, GrantEntry],
    *,
    spans_topics: bool,
) -> bool:
    """Return whether two consumers are in one group if they name the same one.

    A durable consumer belongs to its stream. A queue group belongs to its topics, unless the groups
    of the broker type span topics.
    """
    if spans_topics:
        return True
    streams = stream_for(*first), stream_for(*second)
    if any(streams):
        return streams[0] == streams[1]
    topics = topic_for(*first), topic_for(*second)
    return topics[0] is not None and topics[1] is not None and meet(topics[0], topics[1])


def _includes(outer: Topic, inner: Topic) -> bool:
    return inner.name.startswith(outer.name) if outer.prefix else outer == inner
