"""Checks of a grant against the grants of other policies: the older of two rival claims stands.

Only a rival that nothing refuses counts. Otherwise a policy that is granted nothing, because nobody
consents to it or the broker's owner does not admit it, could suspend the grants of others. The
newer of two is suspended: what it has at the broker stays, and nothing is added.
"""

from collections.abc import Callable, Container, Iterable, Iterator
from typing import NamedTuple

from troth.resources.messaging.message_broker import MessageBroker
from troth.resources.messaging.topic_policy import TopicPolicy
from troth.resources.messaging.topic_policy_status import (
    GrantState,
    PolicyClaim,
    PolicyClaimKind,
)
from troth.resources.references import Ref
from troth.trust.declarations.topics.grant_entries import GrantEntry, Purpose
from troth.trust.declarations.topics.messaging import meet, share_group, topic_for
from troth.trust.grants import Topic
from troth.trust.topics.candidate import GrantCandidate, GrantObstacle, both_sides
from troth.trust.topics.claims import (
    Claim,
    accepted_since,
    claims_of,
    group_claim,
    may_stand_before,
    rank,
    stored_in,
    stream_claim,
    topic_claim,
    topic_of_claim,
)
from troth.trust.topics.refusals import refused


class Rival(NamedTuple):
    """Grant of another policy, or of this one, that has a claim in common with a candidate."""

    policy: TopicPolicy
    entry: GrantEntry
    claim: Claim


def _first(candidate: GrantCandidate, mine: Claim, rivals: Iterable[Rival]) -> Rival | None:
    """Return the first rival whose claim stands before the candidate's.

    Two grants of one policy have the same age, so each stands before the other.
    """
    policy, _ = both_sides(candidate)
    own = rank(policy, mine)
    for rival in rivals:
        if rival.policy.ref == policy.ref or rank(rival.policy, rival.claim) < own:
            theirs = GrantCandidate(
                candidate.registry, candidate.messaging, rival.policy.ref, rival.entry
            )
            if not refused(theirs):
                return rival
    return None


def _older(
    candidate: GrantCandidate, mine: Claim, policies: Callable[[MessageBroker], Iterable[Ref]]
) -> Iterator[TopicPolicy]:
    """Yield the other policies that may stand before a claim, of those at the same servers.

    `policies` finds them at each broker. Their entries are read only then, because anybody who may
    create policies can declare any number of them.
    """
    messaging, (policy, broker) = candidate.messaging, both_sides(candidate)
    own = rank(policy, mine)
    for other in messaging.found_at(broker.spec.topic_places):
        for ref in sorted(policies(other)):
            theirs = messaging.policies[ref]
            if ref != policy.ref and may_stand_before(theirs, own):
                yield theirs


def _consented(candidate: GrantCandidate, policy: Ref) -> Iterator[GrantEntry]:
    """Yield the grants of a policy whose identities name it, or cannot be read, sorted."""
    naming = candidate.messaging.users(policy)
    for each in sorted(candidate.messaging.entries(policy)):
        if each.identity in naming or candidate.registry.is_unreadable(each.identity):
            yield each


def _on_topic(
    candidate: GrantCandidate,
    policies: Iterable[TopicPolicy],
    topic: Topic,
    purposes: Container[Purpose] = tuple(Purpose),
) -> Iterator[Rival]:
    """Yield the grants of policies for any of these purposes on a topic or a part of it."""
    for policy in policies:
        for entry in _consented(candidate, policy.ref):
            theirs = topic_for(policy, entry) if entry.purpose in purposes else None
            if theirs is not None and meet(topic, theirs):
                yield Rival(policy, entry, topic_claim(theirs))


def claims_are_readable(candidate: GrantCandidate) -> GrantObstacle | None:
    """Check that no unreadable policy has a claim that this grant would take.

    How its other grants compare is unknown. A claim that Troth has accepted was compared while that
    policy could be read.
    """
    messaging, (policy, broker) = candidate.messaging, both_sides(candidate)
    if not messaging.unread_claims:
        return None
    new = set(claims_of(policy, candidate.entry)) - accepted_since(policy).keys()
    at_servers = {str(each.ref) for each in messaging.found_at(broker.spec.topic_places)}
    for ref, claims in sorted(messaging.unread_claims.items()):
        for theirs in claims:
            if theirs.broker in at_servers and any(_overlap(mine, theirs) for mine in new):
                message = (
                    f"TopicPolicy {ref} cannot be read, and {theirs.kind.value.lower()} "
                    f"{theirs.name} belongs to it; correct it"
                )
                return GrantObstacle(GrantState.SUSPENDED, "PolicyInvalid", message)
    return None


def _overlap(mine: Claim, theirs: PolicyClaim) -> bool:
    if mine.kind is not theirs.kind:
        return False
    if mine.kind is PolicyClaimKind.TOPIC:
        return meet(topic_of_claim(mine.name), topic_of_claim(theirs.name))
    return mine.name == theirs.name


def group_is_its_own(candidate: GrantCandidate) -> GrantObstacle | None:
    """Check that no other identity consumes with the same group, unless all owners share it.

    This applies only where such an identity would affect the messages that this one receives.
    """
    _, broker = both_sides(candidate)
    group = candidate.entry.group
    if not group:
        return None
    claim = group_claim(group)
    rival = _first(candidate, claim, _in_group(candidate, claim))
    if rival is None:
        return None
    message = (
        f"{candidate.identity} and {rival.entry.identity} consume with the same group, {group}, "
        "so each could take the other's messages; give each its own group, or add it to "
        f"owns.sharedGroups of MessageBroker {broker.ref}"
    )
    return GrantObstacle(GrantState.SUSPENDED, "GroupShared", message)


def _in_group(candidate: GrantCandidate, claim: Claim) -> Iterator[Rival]:
    messaging, (policy, broker) = candidate.messaging, both_sides(candidate)
    group, spans = claim.name, broker.spec.described.groups_span_topics

    def named(other: MessageBroker) -> set[Ref]:
        return {ref for ref, _ in messaging.by_group(other.ref, group)}

    def is_shared(theirs: TopicPolicy) -> bool:
        there = messaging.brokers[theirs.broker]
        return group in broker.spec.owns.shared_groups and group in there.spec.owns.shared_groups

    for theirs in (policy, *_older(candidate, claim, named)):
        for entry in () if is_shared(theirs) else _consented(candidate, theirs.ref):
            same = entry.group == group and entry.identity != candidate.identity
            if same and share_group((policy, candidate.entry), (theirs, entry), spans_topics=spans):
                yield Rival(theirs, entry, claim)


def environment_undisputed(candidate: GrantCandidate) -> GrantObstacle | None:
    """Check that no older policy claims the topic for another environment."""
    policy, _ = both_sides(candidate)
    topic = candidate.topic
    assert topic is not None
    claim = topic_claim(topic)
    meeting = _older(candidate, claim, lambda other: candidate.messaging.by_topic(other.ref, topic))
    elsewhere = (each for each in meeting if each.spec.environment != policy.spec.environment)
    rival = _first(candidate, claim, _on_topic(candidate, elsewhere, topic))
    if rival is None:
        return None
    message = (
        f"TopicPolicy {rival.policy.ref} claims {topic.name} for environment "
        f"{rival.policy.spec.environment}, but TopicPolicy {candidate.policy} claims it for "
        f"{policy.spec.environment}; use different topics in each environment"
    )
    return GrantObstacle(GrantState.SUSPENDED, "EnvironmentDisputed", message)


def retry_topic_is_its_own(candidate: GrantCandidate) -> GrantObstacle | None:
    """Check that no older policy grants anything on a retry topic, whichever has it for that.

    Its producers could publish there, and its consumers would receive what is for one consumer.
    """
    topic, messaging = candidate.topic, candidate.messaging
    if topic is None:
        return None
    claim, retries = topic_claim(topic), candidate.entry.purpose is Purpose.RETRY
    find, purposes = (
        (messaging.by_topic, tuple(Purpose))
        if retries
        else (messaging.by_retry_topic, (Purpose.RETRY,))
    )
    older = _older(candidate, claim, lambda other: find(other.ref, topic))
    rival = _first(candidate, claim, _on_topic(candidate, older, topic, purposes))
    if rival is None:
        return None
    message = (
        f"TopicPolicy {rival.policy.ref} also grants rights on {topic.name}, the retry topic of "
        f"{candidate.identity} alone; use another consumers[].retry.topic in TopicPolicy "
        f"{candidate.policy}"
        if retries
        else f"{rival.entry.topic} is the retry topic of {rival.entry.identity} alone, by "
        f"TopicPolicy {rival.policy.ref}; use another topic in TopicPolicy {candidate.policy}"
    )
    return GrantObstacle(GrantState.SUSPENDED, "RetryTopicShared", message)


def letters_have_own_stream(candidate: GrantCandidate) -> GrantObstacle | None:
    """Check that a stream of dead letters stores nothing that its reviewer does not review.

    Who may read any message of a stream may read all of it.
    """
    policy, _ = both_sides(candidate)
    messaging, stream = candidate.messaging, stored_in(policy, candidate.entry)
    if not stream:
        return None
    claim = stream_claim(stream)
    # usually nobody reviews a stream, and any number of policies may share it
    reviews = candidate.entry.purpose is Purpose.REVIEW
    find = messaging.by_stream if reviews else messaging.by_reviewed_stream
    others = _older(candidate, claim, lambda other: find(other.ref, stream))
    rival = _first(candidate, claim, _in_stream(candidate, others, stream))
    if rival is None:
        return None
    if reviews:
        message = (
            f"stream {stream} also stores messages of TopicPolicy {rival.policy.ref} that "
            f"{candidate.identity} does not review, and a reviewer reads all of a stream; set "
            f"another deadLetter.stream in TopicPolicy {candidate.policy}"
        )
    else:
        message = (
            f"{rival.entry.identity} reads all of stream {stream} as the reviewer of TopicPolicy "
            f"{rival.policy.ref}; use another stream in TopicPolicy {candidate.policy}"
        )
    return GrantObstacle(GrantState.SUSPENDED, "StreamShared", message)


def _in_stream(
    candidate: GrantCandidate, others: Iterable[TopicPolicy], stream: str
) -> Iterator[Rival]:
    """Yield the grants of other policies on a stream that one of the two sides reviews alone."""
    policy, _ = both_sides(candidate)
    reviews = candidate.entry.purpose is Purpose.REVIEW
    for other in others:
        foreign = not _only_reviewed(other, stream, candidate.identity)
        for entry in _consented(candidate, other.ref):
            if stored_in(other, entry) != stream:
                continue
            reviewed = entry.purpose is Purpose.REVIEW
            if (reviews and foreign) or (
                reviewed and not _only_reviewed(policy, stream, entry.identity)
            ):
                yield Rival(other, entry, stream_claim(stream))


def _only_reviewed(policy: TopicPolicy, stream: str, reviewer: Ref) -> bool:
    """Return whether a policy has only dead letters in a stream, for this reviewer alone."""
    spec, letters = policy.spec, policy.spec.dead_letter
    retries = (each.retry.stream for each in spec.consumers if each.retry is not None)
    if stream in (spec.topic.stream, *retries) or letters is None or letters.reviewer is None:
        return False
    return letters.reviewer.seen_from(policy.ref.namespace) == reviewer
