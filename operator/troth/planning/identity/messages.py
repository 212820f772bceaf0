"""The messages of an identity: what `identity.json` says of the topics where it may do anything.

For whoever publishes: what a message must look like and carry. For whoever consumes: that too, who
publishes there, and where to put what could not be consumed. A schema that cannot be used is named
by its fault, and no message is good then.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic_core import to_json

from troth.planning.grants.message_schemas import schema_of
from troth.planning.identity.view import spiffe_ids_of
from troth.resources.messaging.message_broker import MessageBroker
from troth.resources.messaging.topic_policy import TopicPolicy
from troth.resources.messaging.topic_policy_status import Action, GrantState
from troth.resources.references import Ref
from troth.trust.grant_candidate import principal_of
from troth.trust.messaging import GrantEntry, topic_of
from troth.trust.topic_grants import TopicGrant
from troth.world.facts.objects import Fault
from troth.world.world import World

ROOM = 700 * 1024
"""Bytes that all schemas may take in one document: a Secret has room for 1 MiB."""

Entry = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Place:
    """What one entry is about: whatever else changes in it, it is the same entry."""

    policy: str
    action: str
    group: str

    @classmethod
    def of(cls, entry: Entry) -> "_Place":
        return cls(*(str(entry.get(name, "")) for name in ("policy", "action", "group")))


def messages_of(
    identity: Ref, grants: Iterable[TopicGrant], world: World, standing: Mapping[str, Any]
) -> tuple[Entry, ...]:
    """Return an entry for every grant of an identity that is live, sorted.

    `grants` are its own, and those of whoever else publishes by a policy by which it consumes.
    `standing` is what the document says now: of what a conflict suspends it keeps what it says, and
    says nothing new.
    """
    by_policy: dict[Ref, list[TopicGrant]] = {}
    for grant in grants:
        by_policy.setdefault(grant.policy, []).append(grant)
    said = {_Place.of(entry): entry for entry in _entries(standing.get("messages"))}
    entries = [
        entry
        for policy in sorted(by_policy)
        for entry in _of_policy(identity, by_policy[policy], world, said)
    ]
    return tuple(_within(ROOM, entries))


def _of_policy(
    identity: Ref, grants: list[TopicGrant], world: World, said: Mapping[_Place, Entry]
) -> Iterator[Entry]:
    mine = [each for each in grants if each.entry.identity == identity]
    dead_letters = [each.state for each in mine if each.entry.dead_letter]
    for each in mine:
        if each.entry.dead_letter:
            continue
        for entry, before in _in_force(each, world, said):
            if each.entry.action is Action.CONSUME:
                entry["producers"] = _producers(grants, world, before)
                if not _dead_letter_stays(dead_letters, entry, before):
                    entry.pop("deadLetter", None)
            yield entry


def _in_force(
    grant: TopicGrant, world: World, said: Mapping[_Place, Entry]
) -> Iterator[tuple[dict[str, Any], Entry]]:
    """Yield what is said of a grant, beside what was said of it before.

    Of one that is suspended that is what is declared now, if the document has it already; and all
    that it has, where what is declared cannot be read.
    """
    here = _Place(str(grant.policy), grant.entry.action.value, grant.entry.group)
    now = _entry(grant.policy, grant.entry, world)
    if grant.state is GrantState.LIVE:
        assert now is not None
        yield now, said.get(here, {})
    elif grant.state is GrantState.SUSPENDED and now is not None:
        before = said.get(here, {})
        if before and _same_topic(before, now):
            yield now, before
    elif grant.state is GrantState.SUSPENDED:
        unreadable = grant.policy in world.brokers.messaging.invalid_policies
        for place, before in said.items():
            if place == here or (unreadable and replace(place, group=here.group) == here):
                yield dict(before), before


def _entry(policy: Ref, asked: GrantEntry, world: World) -> dict[str, Any] | None:
    """Return what is said of a grant, None where its policy or its broker cannot be read."""
    declared = world.brokers.messaging.policies.get(policy)
    broker = world.brokers.messaging.brokers.get(declared.broker) if declared else None
    if declared is None or broker is None:
        return None
    return {
        "policy": str(policy),
        "action": asked.action.value,
        **({"group": asked.group} if asked.group else {}),
        **_at_broker(declared, broker, asked.identity),
        "context": {"require": _required(declared)},
        **_schema(declared, world),
        **(_dead_letter(declared) if asked.action is Action.CONSUME else {}),
    }


def _at_broker(policy: TopicPolicy, broker: MessageBroker, identity: Ref) -> Entry:
    topic, stream = topic_of(policy), policy.spec.topic.stream
    return {
        "broker": str(broker.ref),
        "type": broker.spec.type.value,
        "prefix" if topic.prefix else "topic": topic.name,
        **({"stream": stream} if stream else {}),
        "principal": principal_of(broker, identity),
    }


def _required(policy: TopicPolicy) -> list[str]:
    context = policy.spec.context
    return sorted(each.value for each in context.require) if context is not None else []


def _schema(policy: TopicPolicy, world: World) -> Entry:
    found = schema_of(policy, world)
    if found is None:
        return {}
    return {"schemaFault": found.reason} if isinstance(found, Fault) else {"schema": found}


def _dead_letter(policy: TopicPolicy) -> Entry:
    declared = policy.spec.dead_letter
    if declared is None:
        return {}
    return {"deadLetter": {"topic": declared.topic, "review": declared.review.value}}


def _dead_letter_stays(states: list[GrantState], entry: Entry, before: Entry) -> bool:
    """Say whether the identity may publish to the dead-letter topic that an entry names."""
    if GrantState.LIVE in states:
        return True
    named, earlier = entry.get("deadLetter"), before.get("deadLetter")
    if not isinstance(named, dict) or not isinstance(earlier, dict):
        return False
    # where the policy cannot be read, that to its dead-letter topic is not listed
    suspended = GrantState.SUSPENDED in states or not states
    return suspended and named.get("topic") == earlier.get("topic")


def _producers(grants: Iterable[TopicGrant], world: World, before: Entry) -> list[str]:
    """Return the SPIFFE IDs of whoever publishes: those who may, and of those whose grant is
    suspended the ones that are listed already.
    """
    listed = before.get("producers")
    known = (
        {each for each in listed if isinstance(each, str)} if isinstance(listed, list) else set()
    )
    found: set[str] = set()
    for each in grants:
        if each.entry.action is Action.PUBLISH and not each.entry.dead_letter:
            names = spiffe_ids_of(each.entry.identity, world)
            if each.state is GrantState.LIVE:
                found |= names
            elif each.state is GrantState.SUSPENDED:
                found |= names & known
    return sorted(found)


def _same_topic(before: Entry, now: Entry) -> bool:
    return all(
        before.get(name) == now.get(name) for name in ("broker", "topic", "prefix", "stream")
    )


def _entries(part: object) -> list[dict[str, Any]]:
    return [each for each in part if isinstance(each, dict)] if isinstance(part, list) else []


def _within(room: int, entries: Iterable[Entry]) -> Iterator[Entry]:
    """Yield entries with the schemas that there is room for, the first ones first."""
    for entry in entries:
        size = len(to_json(entry.get("schema", "")))
        if size <= room:
            room -= size
            yield entry
        else:
            without = {name: each for name, each in entry.items() if name != "schema"}
            yield without | {"schemaFault": "SchemasTooLarge"}
