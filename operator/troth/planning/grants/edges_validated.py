"""Condition `EdgesValidated`: whether consumers are seen to check messages by Troth's guard.

A broker cannot check a schema or a context. So a policy with either relies on its clients, and the
guard in a client names itself to the broker. The name is a claim: it shows how a client is
configured, and a client that lies is not found out. So nothing depends on this condition.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from troth.brokers.clients import Client
from troth.planning import faults, verdicts
from troth.planning.grants.dialects import unsupported
from troth.planning.grants.view import PolicyView
from troth.planning.parts import Part, fails_closed
from troth.resources.conditions import Condition, Truth, Verdict
from troth.resources.messaging.topic_policy import TopicPolicy
from troth.resources.messaging.topic_policy_status import EnforcedBy, GrantState
from troth.trust.declarations.topics.grant_entries import GrantEntry, Purpose
from troth.trust.declarations.topics.messaging import meet
from troth.trust.grants import Action, Topic
from troth.trust.topics.evaluation import TopicGrant
from troth.trust.topics.guarded import needs_guard
from troth.world.facts.clients import COUNTS_FOR, SeenClients
from troth.world.facts.objects import Fault

EDGES_VALIDATED = "EdgesValidated"
"""Type of the condition."""
UNVALIDATED_CONSUMER, UNVALIDATED_PRODUCER = "UnvalidatedConsumer", "UnvalidatedProducer"
LISTED = 5
"""Maximum number of clients in a message."""
_HELD = frozenset({GrantState.LIVE, GrantState.SUSPENDED})
"""States in which a principal may have the grant at its broker."""


@dataclass(frozen=True, slots=True)
class SeenEdges(Part):
    """Part on the clients of a policy, which is empty for a policy that needs no guard.

    `enforced` has where the policy is enforced for each consumer.
    """

    enforced: Mapping[GrantEntry, EnforcedBy] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Party:
    """Identity of a policy, with its clients of one action that have the guard and that lack it.

    `has_opaque` is whether it has clients that may be of this policy or not.
    """

    entry: GrantEntry
    guarded: tuple[Client, ...]
    bare: tuple[Client, ...]
    has_opaque: bool = False


def _unjudged(error: Exception, view: PolicyView) -> SeenEdges:
    """Return the part if an exception prevents the verdict: the entries of the grants stay."""
    told = _told(view.policy)
    places = ((each.entry, _place(each.entry)) for each in view.grants if _consumes(each))
    enforced = {entry: told[place] for entry, place in places if place in told}
    return SeenEdges(beside=(faults.verdict(EDGES_VALIDATED, error),), enforced=enforced)


@fails_closed(_unjudged)
def plan_edges(view: PolicyView) -> SeenEdges:
    """Return the part on the clients of a policy."""
    policy, moment = view.policy, view.moment
    if not needs_guard(policy):
        return SeenEdges()
    held = _held(view)
    consuming = [each for each in held if _consumes(each)]
    because = _unobservable(view)
    if because is not None:
        verdict = verdicts.unknown(EDGES_VALIDATED, "NotObservable", because)
        everywhere = {each.entry: EnforcedBy.BROKER for each in consuming}
        return SeenEdges(beside=(verdict,), enforced=everywhere)
    clients = view.look.clients
    if clients is None:
        before = _as_before(policy, consuming)
        return SeenEdges(beside=(_not_seen_yet(policy),), enforced=before)
    consumers = [_consumer(policy, each, _received(each, held), clients) for each in consuming]
    producing = [each for each in held if _publishes(each)]
    producers = [_producer(policy, each, clients) for each in producing]
    verdict = _verdict(policy, consumers, producers, clients)
    enforced = {each.entry: _enforced(each) for each in consumers}
    end = clients.since + COUNTS_FOR
    last = _last(policy)
    if _is_forgotten(last, verdict) and last is not None and moment.uptime < end:
        # This process may not have seen yet what an earlier one has.
        again = moment.now + timedelta(seconds=end - moment.uptime + 0.001)
        before = _as_before(policy, consuming)
        return SeenEdges(beside=(_again(last),), dues=(again,), enforced=before)
    return SeenEdges(beside=(verdict,), enforced=enforced)


def _held(view: PolicyView) -> list[TopicGrant]:
    return [each for each in view.grants if each.grant is not None and each.state in _HELD]


def _unobservable(view: PolicyView) -> str | None:
    """Return why the clients of a policy are unknown, None if they are known or not seen yet."""
    broker, look, name = view.broker, view.look, view.policy.broker
    if broker is None or unsupported(broker) is not None:
        return f"MessageBroker {name} is not observed; see GrantsInSync"
    fault: Fault | None = look.fault or (look.clients.fault if look.clients is not None else None)
    if fault is None:
        return None
    return f"MessageBroker {name} does not show its clients: {fault.message}"


def _received(consumer: TopicGrant, held: Iterable[TopicGrant]) -> list[Topic]:
    """Return the topics that a consumer may receive: those of the policy, and its retry topic."""
    who = consumer.entry.identity, consumer.entry.action, consumer.entry.group
    return [
        each.grant.topic
        for each in held
        if (each.entry.identity, each.entry.action, each.entry.group) == who
        and each.grant is not None
    ]


def _consumer(
    policy: TopicPolicy, grant: TopicGrant, topics: Iterable[Topic], clients: SeenClients
) -> _Party:
    """Return a consumer with its clients.

    A client without the guard counts for every policy by which its principal or its group may
    consume, unless the broker shows that it consumes something else.
    """
    assert grant.grant is not None
    own = clients.of(grant.grant.principal, grant.grant.group)
    guarded = tuple(each for each in own if _guards(each, policy))
    return _Party(
        grant.entry,
        guarded,
        tuple(each for each in own if not _guards(each, policy) and _may_consume(each, topics)),
        # an identity may have one connection for each of its policies
        not guarded and any(map(_is_opaque, own)),
    )


def _producer(policy: TopicPolicy, grant: TopicGrant, clients: SeenClients) -> _Party:
    """Return a producer with its clients.

    A client without the guard counts only if the identity has none with it, because it may be for
    another topic.
    """
    assert grant.grant is not None
    own = clients.of(grant.grant.principal)
    guarded = tuple(each for each in own if _guards(each, policy))
    publishing = (each for each in own if each.policies is None and Action.PUBLISH in each.actions)
    return _Party(grant.entry, guarded, () if guarded else tuple(publishing))


def _publishes(grant: TopicGrant) -> bool:
    entry = grant.entry
    return entry.action is Action.PUBLISH and entry.purpose is Purpose.MESSAGES


def _consumes(grant: TopicGrant) -> bool:
    entry = grant.entry
    return entry.action is Action.CONSUME and entry.purpose is Purpose.MESSAGES


def _guards(client: Client, policy: TopicPolicy) -> bool:
    """Return whether a client says that it validates by a policy, or may do so."""
    named = client.policies
    return named is not None and (str(policy.ref) in named or not client.named_all)


def _may_consume(client: Client, topics: Iterable[Topic]) -> bool:
    """Return whether a client that does not validate by a policy may consume its topics.

    Of a client with the guard for other policies this is known only if the broker shows topics.
    """
    if client.topics:
        return any(meet(topic, Topic(each)) for topic in topics for each in client.topics)
    return client.policies is None and Action.CONSUME in client.actions


def _is_opaque(client: Client) -> bool:
    """Return whether a connection with the guard for other policies may consume any topic."""
    is_connection = not client.group and not client.topics
    return is_connection and client.policies is not None and Action.CONSUME in client.actions


def _verdict(
    policy: TopicPolicy, consumers: list[_Party], producers: list[_Party], clients: SeenClients
) -> Verdict:
    last = _last(policy)
    bare = [each for each in consumers if each.bare]
    if bare:
        message = (
            "consumers without Troth's guard for events are connected to MessageBroker "
            f"{policy.broker}: {_listed(bare, last)}; use troth.edge.events there, or nothing "
            "checks their messages"
        )
        return verdicts.false(EDGES_VALIDATED, UNVALIDATED_CONSUMER, message)
    bare = [each for each in producers if each.bare]
    if bare:
        message = (
            "producers without Troth's guard for events are connected to MessageBroker "
            f"{policy.broker}: {_listed(bare, last)}; use troth.edge.events there, or consumers "
            "reject their messages"
        )
        return verdicts.false(EDGES_VALIDATED, UNVALIDATED_PRODUCER, message)
    hidden = sorted({clients.hidden.get(each.entry.group, "") for each in consumers} - {""})
    if hidden:
        message = f"MessageBroker {policy.broker} does not show every client: {hidden[0]}"
        return verdicts.unknown(EDGES_VALIDATED, "NotObservable", message)
    opaque = sorted(str(each.entry.identity) for each in consumers if each.has_opaque)
    if opaque:
        message = (
            f"MessageBroker {policy.broker} does not show what {opaque[0]} receives by a "
            "connection with the guard for other policies; name this policy in one of its "
            "connections"
        )
        return verdicts.unknown(EDGES_VALIDATED, "NotObservable", message)
    if not any(each.guarded for each in consumers):
        message = f"no consumer of the policy is connected to MessageBroker {policy.broker}"
        return verdicts.unknown(EDGES_VALIDATED, "NoConsumerSeen", message)
    message = "every connected consumer says that it validates by this policy"
    return verdicts.true(EDGES_VALIDATED, "AllConsumersValidate", message)


def _enforced(consumer: _Party) -> EnforcedBy:
    seen = consumer.guarded and not consumer.bare and not consumer.has_opaque
    return EnforcedBy.EDGE if seen else EnforcedBy.BROKER


def _listed(parties: list[_Party], last: Condition | None) -> str:
    """Return the identities of clients, each with the name of one."""
    ordered = sorted(parties, key=lambda each: (each.entry.identity, each.entry.group))
    some = [_shown(each, last) for each in ordered[:LISTED]]
    return ", ".join(some) + (" and others" if len(parties) > LISTED else "")


def _shown(party: _Party, last: Condition | None) -> str:
    """Return an identity with one of its clients.

    It is the one that the last message names, if it is still there: clients have names by which
    the status would change at each of their restarts.
    """
    names = sorted(map(_client, party.bare))
    told = last.message if last is not None else ""
    name = next((each for each in names if each in told), names[0])
    return f"{party.entry.identity} ({name})"


def _client(client: Client) -> str:
    group = f"group {client.group}, " if client.group else ""
    if client.policies is not None:
        return f"{group}with the guard for other policies"
    return f'{group}client named "{client.name}"' if client.name else f"{group}client without name"


def _last(policy: TopicPolicy) -> Condition | None:
    """Return the condition in the status of this generation, None if there is none."""
    if policy.status.observed_generation != policy.metadata.generation:
        return None
    return next((each for each in policy.status.conditions if each.type == EDGES_VALIDATED), None)


def _again(last: Condition) -> Verdict:
    return Verdict(
        type=EDGES_VALIDATED, status=last.status, reason=last.reason, message=last.message
    )


def _not_seen_yet(policy: TopicPolicy) -> Verdict:
    last = _last(policy)
    if last is not None:
        return _again(last)
    message = f"the clients of MessageBroker {policy.broker} have not been observed yet"
    return verdicts.unknown(EDGES_VALIDATED, "NotSeenYet", message)


def _is_forgotten(last: Condition | None, verdict: Verdict) -> bool:
    """Return whether the last verdict named a client that a verdict no longer names."""
    return last is not None and last.status is Truth.FALSE and verdict.status is not Truth.FALSE


def _as_before(
    policy: TopicPolicy, consuming: Iterable[TopicGrant]
) -> Mapping[GrantEntry, EnforcedBy]:
    """Return where the last status says that the policy is enforced for each consumer."""
    told = _told(policy)
    return {each.entry: told.get(_place(each.entry), EnforcedBy.BROKER) for each in consuming}


def _told(policy: TopicPolicy) -> Mapping[tuple[str, str], EnforcedBy]:
    return {
        (each.identity, each.group or ""): each.enforcement
        for each in policy.status.grants
        if each.action is Action.CONSUME and each.topic is None and each.enforcement is not None
    }


def _place(entry: GrantEntry) -> tuple[str, str]:
    return str(entry.identity), entry.group
