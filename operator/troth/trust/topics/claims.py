"""Claims of grants at a broker. Of two rival claims the older stands, as with audiences.

The age of a claim counts from the time at which Troth first accepted it, which the policy's status
keeps. Otherwise an old policy could take the group of a newer one by naming it. Claims that were
never accepted are ordered by the age of their policies, and then by their names.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from troth.resources.messaging.topic_policy import TopicPolicy
from troth.resources.messaging.topic_policy_status import PolicyClaim, PolicyClaimKind
from troth.trust.declarations.claims import Rank
from troth.trust.declarations.governance import NEVER
from troth.trust.declarations.topics.grant_entries import GrantEntry
from troth.trust.declarations.topics.messaging import topic_for
from troth.trust.grants import Topic


class Claim(NamedTuple):
    """Group, topic or stream that grants of one policy have for themselves at its broker."""

    kind: PolicyClaimKind
    name: str


def topic_claim(topic: Topic) -> Claim:
    """Return the claim to a topic. No name has a `*`, so it marks a prefix."""
    return Claim(PolicyClaimKind.TOPIC, f"{topic.name}*" if topic.prefix else topic.name)


def group_claim(group: str) -> Claim:
    """Return the claim to a group."""
    return Claim(PolicyClaimKind.GROUP, group)


def stream_claim(stream: str) -> Claim:
    """Return the claim to a stream."""
    return Claim(PolicyClaimKind.STREAM, stream)


def claims_of(policy: TopicPolicy, entry: GrantEntry) -> Iterator[Claim]:
    """Yield what a grant claims."""
    topic, stream = topic_for(policy, entry), stored_in(policy, entry)
    if topic is not None:
        yield topic_claim(topic)
    if entry.group:
        yield group_claim(entry.group)
    if stream:
        yield stream_claim(stream)


def topic_of_claim(name: str) -> Topic:
    """Return the topic of a claim's name."""
    return Topic(name.removesuffix("*"), prefix=name.endswith("*"))


def stored_in(policy: TopicPolicy, entry: GrantEntry) -> str:
    """Return the stream that stores the messages of a grant, "" if none is named."""
    spec = policy.spec
    if not entry.topic:
        return entry.stream or spec.topic.stream or ""
    if spec.dead_letter is not None and spec.dead_letter.topic == entry.topic:
        return spec.dead_letter.stream or ""
    retries = (each.retry for each in spec.consumers if each.retry is not None)
    return next((each.stream or "" for each in retries if each.topic == entry.topic), "")


def rank(policy: TopicPolicy, claim: Claim) -> Rank:
    """Return the age of a policy's claim: of several, the smallest stands."""
    return Rank(
        accepted_since(policy).get(claim, NEVER),
        policy.metadata.creation_timestamp or NEVER,
        policy.ref,
    )


def accepted_since(policy: TopicPolicy) -> dict[Claim, datetime]:
    """Return when each claim of a policy was first accepted at its present broker."""
    broker = str(policy.broker)
    return {
        Claim(each.kind, each.name): each.since
        for each in policy.status.claims
        if each.broker == broker
    }


def may_stand_before(policy: TopicPolicy, mine: Rank) -> bool:
    """Return whether any claim of a policy can be older than a rank."""
    first = min(accepted_since(policy).values(), default=NEVER)
    return Rank(first, policy.metadata.creation_timestamp or NEVER, policy.ref) < mine


def as_status(policy: TopicPolicy, claim: Claim, since: datetime) -> PolicyClaim:
    """Return the status entry of an accepted claim."""
    return PolicyClaim(kind=claim.kind, name=claim.name, broker=str(policy.broker), since=since)
