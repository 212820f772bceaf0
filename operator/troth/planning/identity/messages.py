"""The `messages` member of `identity.json`: the topics at which an identity has a grant.

An entry has the schema and the context that messages must have. For a consumer it also has the
producers and the dead-letter topic. If a schema cannot be used, the entry has its fault instead,
and no message is valid.
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
from troth.resources.schema.bounded_json import objects_in
from troth.trust.declarations.messaging import GrantEntry, topic_of
from troth.trust.topics.candidate import principal_of
from troth.trust.topics.evaluation import TopicGrant
from troth.world.facts.objects import Fault
from troth.world.world import World

ROOM = 700 * 1024
"""Maximum bytes of all schemas in one document. A Secret holds at most 1 MiB."""

Entry = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Place:
    """Key of an entry, which stays the same when other fields of the entry change."""

    policy: str
    action: str
    group: str

    @classmethod
    def of(cls, entry: Entry) -> "_Place":
        return cls(*(str(entry.get(name, "")) for name in ("policy", "action", "group")))


def messages_of(
    identity: Ref, grants: Iterable[TopicGrant], world: World, current: Mapping[str, Any]
) -> tuple[Entry, ...]:
    """Return an entry for every live grant of an identity, sorted.

    `grants` are its own grants, and the publish grants of others in policies by which it consumes.
    `current` is the document as written. A suspended grant keeps its entry if it has one.
    """
    by_policy: dict[Ref, list[TopicGrant]] = {}
    for grant in grants:
        by_policy.setdefault(grant.policy, []).append(grant)
    said = {_Place.of(entry): entry for entry in objects_in(current.get("messages"))}
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
    """Yield the entries of a grant, each with the current entry that it replaces.

    A suspended grant yields its declared entry if the document already has one for the same topic.
    If the declaration cannot be read, it yields the current entries unchanged.
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
    """Return the entry of a grant, None if its policy or its broker cannot be read."""
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
    """Return whether the identity may publish to the dead-letter topic that an entry names."""
    if GrantState.LIVE in states:
        return True
    named, earlier = entry.get("deadLetter"), before.get("deadLetter")
    if not isinstance(named, dict) or not isinstance(earlier, dict):
        return False
    # if the policy cannot be read, its dead-letter grant is missing from `states`
    suspended = GrantState.SUSPENDED in states or not states
    return suspended and named.get("topic") == earlier.get("topic")


def _producers(grants: Iterable[TopicGrant], world: World, before: Entry) -> list[str]:
    """Return the SPIFFE IDs of the producers, sorted.

    These are the identities with a live publish grant, and those with a suspended grant that the
    current entry already lists.
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


def _within(room: int, entries: Iterable[Entry]) -> Iterator[Entry]:
    """Yield the entries, each with its schema if that still fits into `room` bytes."""
    for entry in entries:
        size = len(to_json(entry.get("schema", "")))
        if size <= room:
            room -= size
            yield entry
        else:
            without = {name: each for name, each in entry.items() if name != "schema"}
            yield without | {"schemaFault": "SchemasTooLarge"}
