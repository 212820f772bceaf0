"""The `messages` member of `identity.json`: the topics at which an identity has a grant.

An entry has the schemas and the context that messages must have. For a consumer it also has the
producers, the tenants, the dead-letter topic, the retry topic and the reviewers. For a reviewer it
has the producers, the consumers and the rules of reviews. If a schema cannot be used, the entry has
its fault instead, and no message is valid.

Members for reviews are written only where a policy uses them.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from troth.planning.identity.facts import View
from troth.planning.identity.messages.accepted_schemas import schemas_of, with_texts
from troth.planning.identity.messages.reviewing import (
    consumer_rights,
    review_rules,
    reviewed_consumers,
)
from troth.resources.messaging.dead_letter import DeadLetter
from troth.resources.messaging.event_age import event_age
from troth.resources.messaging.message_broker import MessageBroker
from troth.resources.messaging.topic_policy import ContextEvidence, TopicPolicy
from troth.resources.messaging.topic_policy_status import Action, GrantState
from troth.resources.references import Ref
from troth.resources.schema.bounded_json import objects_in, texts_in
from troth.trust.declarations.registry import Registry
from troth.trust.declarations.topics.grant_entries import GrantEntry, Purpose
from troth.trust.declarations.topics.messaging import topic_of
from troth.trust.edges.spiffe_ids import spiffe_ids_of
from troth.trust.topics.candidate import principal_of
from troth.trust.topics.evaluation import TopicGrant
from troth.trust.topics.refusals import is_unlisted

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


@dataclass(frozen=True, slots=True)
class _Written:
    """Entries of the document as written, by place, and the texts of its schemas in files."""

    entries: Mapping[_Place, Entry] = field(repr=False)
    files: Mapping[str, str] = field(repr=False)

    def at(self, place: _Place) -> Entry:
        """Return the entry at a place, {} if there is none."""
        return self.entries.get(place, {})

    def of_policy(self, place: _Place) -> Entry:
        """Return the entry at a place, else another one of its policy, which has its schemas."""
        others = (each for key, each in self.entries.items() if key.policy == place.policy)
        return self.at(place) or next(others, {})


def messages_of(
    view: View,
    current: Mapping[str, Any],
    files: Mapping[str, str],
) -> tuple[Entry, ...]:
    """Return an entry for every live grant of an identity, sorted, with the texts of its schemas.

    The grants are its own, and those of others that its document names: see `view`. `current` is
    the document as written, and `files` are its schemas in files, by name. A suspended grant keeps
    its entry if it has one.
    """
    by_policy: dict[Ref, list[TopicGrant]] = {}
    for grant in view.topics:
        by_policy.setdefault(grant.policy, []).append(grant)
    listed = objects_in(current.get("messages"))
    written = _Written({_Place.of(entry): entry for entry in listed}, files)
    return tuple(
        entry
        for policy in sorted(by_policy)
        for entry in _of_policy(view, by_policy[policy], written)
    )


def _of_policy(view: View, grants: list[TopicGrant], written: _Written) -> Iterator[Entry]:
    identity, registry = view.identity.ref, view.registry
    mine = [each for each in grants if each.entry.identity == identity]
    for each in mine:
        if each.entry.purpose not in {Purpose.MESSAGES, Purpose.REVIEW}:
            continue
        for entry, before in _in_force(each, view, written):
            if each.entry.action is not Action.PUBLISH:
                entry["producers"] = _named(
                    grants, Action.PUBLISH, registry, before.get("producers")
                )
            if each.entry.action is Action.CONSUME:
                _complete_consumer(entry, before, each.entry.group, mine)
                reviewers = _named(grants, Action.REVIEW, registry, before.get("reviewers"))
                # an edge library of an earlier version rejects a member that it does not know
                entry.pop("reviewers", None)
                if reviewers:
                    entry["reviewers"] = reviewers
            if each.entry.action is Action.REVIEW:
                entry["reviewers"] = sorted(spiffe_ids_of(identity, registry))
                entry["consumers"] = list(reviewed_consumers(each.policy, grants, view, before))
            yield entry


def _complete_consumer(
    entry: dict[str, Any], before: Entry, group: str, mine: Iterable[TopicGrant]
) -> None:
    """Remove the topics of an entry at which the consumer has no grant."""
    for member, purpose in (("deadLetter", Purpose.DEAD_LETTERS), ("retry", Purpose.RETRY)):
        # a grant to publish dead letters has no group
        of_group = "" if purpose is Purpose.DEAD_LETTERS else group
        states = [
            each.state
            for each in mine
            if each.entry.purpose is purpose and each.entry.group == of_group
        ]
        if not _topic_stays(states, entry.get(member), before.get(member)):
            entry.pop(member, None)


def _in_force(
    grant: TopicGrant, view: View, written: _Written
) -> Iterator[tuple[dict[str, Any], Entry]]:
    """Yield the entries of a grant, each with the current entry that it replaces.

    A suspended grant yields its declared entry if the document already has one for the same topic.
    If the declaration cannot be read, it yields the current entries unchanged.
    """
    here = _Place(str(grant.policy), grant.entry.action.value, grant.entry.group)
    now = _entry(grant.policy, grant.entry, view, written)
    before = written.at(here)
    if grant.state is GrantState.LIVE:
        assert now is not None
        yield now, before
    elif grant.state is GrantState.SUSPENDED and now is not None:
        if before and _same_topic(before, now):
            yield now, before
    elif grant.state is GrantState.SUSPENDED:
        unreadable = grant.policy in view.messaging.invalid_policies
        unreadable |= is_unlisted(view.registry, view.messaging, grant.policy)
        for place, kept in written.entries.items():
            alike = place == here or (unreadable and replace(place, group=here.group) == here)
            # without an environment, an earlier version wrote it, and the edge cannot read it
            if alike and "environment" in kept:
                yield dict(with_texts(kept, written.files)), kept


def _entry(policy: Ref, asked: GrantEntry, view: View, written: _Written) -> dict[str, Any] | None:
    """Return the entry of a grant, None if its policy or its broker cannot be read."""
    declared = view.messaging.policies.get(policy)
    broker = view.messaging.brokers.get(declared.broker) if declared else None
    if declared is None or broker is None:
        return None
    here = _Place(str(policy), asked.action.value, asked.group)
    return {
        "policy": str(policy),
        "action": asked.action.value,
        **({"group": asked.group} if asked.group else {}),
        **_at_broker(declared, broker, asked.identity),
        "environment": declared.spec.environment,
        "context": _context(declared),
        **schemas_of(declared, view.schema_texts[policy], written.of_policy(here), written.files),
        **_of_action(declared, asked),
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


def _context(policy: TopicPolicy) -> Entry:
    declared = policy.spec.context
    evidence = ContextEvidence.PRODUCER if declared is None else declared.evidence
    return {
        "require": sorted(each.value for each in declared.require) if declared is not None else [],
        "evidence": evidence.value,
        "maxAge": int(event_age(policy).total_seconds()),
    }


def _of_action(policy: TopicPolicy, asked: GrantEntry) -> Entry:
    """Return the members of an entry that only consumers, or only reviewers have."""
    letters = policy.spec.dead_letter
    match asked.action:
        case Action.CONSUME:
            named = {} if letters is None else {"deadLetter": _letters(letters)}
            return named | consumer_rights(policy, asked.identity, asked.group)
        case Action.REVIEW if letters is not None:
            return {"deadLetter": _letters(letters) | review_rules(letters)}
        case _:
            return {}


def _letters(declared: DeadLetter) -> dict[str, Any]:
    return {"topic": declared.topic, "review": declared.review.value}


def _topic_stays(states: list[GrantState], named: object, earlier: object) -> bool:
    """Return whether the identity has the grants at a topic that a member of an entry names."""
    if GrantState.LIVE in states:
        return True
    if not isinstance(named, dict) or not isinstance(earlier, dict):
        return False
    # if the policy cannot be read, its grants at the topic are missing from `states`
    suspended = GrantState.SUSPENDED in states or not states
    return suspended and named.get("topic") == earlier.get("topic")


def _named(
    grants: Iterable[TopicGrant], action: Action, registry: Registry, listed: object
) -> list[str]:
    """Return the SPIFFE IDs of the producers or reviewers, sorted.

    These are the identities with a live grant of this action, and those with a suspended grant that
    the current entry lists already.
    """
    known = set(texts_in(listed))
    found: set[str] = set()
    for each in grants:
        on_own_topic_or_letters = each.entry.purpose in {Purpose.MESSAGES, Purpose.REVIEW}
        if each.entry.action is action and on_own_topic_or_letters:
            names = spiffe_ids_of(each.entry.identity, registry)
            if each.state is GrantState.LIVE:
                found |= names
            elif each.state is GrantState.SUSPENDED:
                found |= names & known
    return sorted(found)


def _same_topic(before: Entry, now: Entry) -> bool:
    if any(before.get(name) != now.get(name) for name in ("broker", "topic", "prefix", "stream")):
        return False
    if now["action"] != Action.REVIEW.value:
        return True
    letters = [each.get("deadLetter") for each in (before, now)]
    places = [(each.get("topic"), each.get("stream")) for each in letters if isinstance(each, dict)]
    return len(places) == len(letters) and places[0] == places[1]
