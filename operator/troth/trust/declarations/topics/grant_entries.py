"""Grants that the entries of a policy declare, and the purpose of each."""

from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

from troth.resources.messaging.dead_letter import DeadLetter, RetryTopic
from troth.resources.messaging.topic_policy import TopicPolicy
from troth.resources.references import Ref
from troth.trust.grants import Action


class Purpose(IntEnum):
    """Purpose of a grant, which also decides its topic. Statuses list grants in this order."""

    MESSAGES = 1
    """Publish or consume on the policy's own topic."""
    DEAD_LETTERS = 2
    """Publish what a consumer could not consume, on the dead-letter topic."""
    RETRY = 3
    """Consume a retry topic."""
    REVIEW = 4
    """Read the dead letters."""
    RECORDS = 5
    """Publish records of what was decided, on the dead-letter topic."""
    REDRIVE = 6
    """Publish again, on a retry topic or the policy's own topic, while a review is carried out."""

    @property
    def is_of_reviewer(self) -> bool:
        """Whether the policy's reviewer has the grant."""
        return self in {Purpose.REVIEW, Purpose.RECORDS, Purpose.REDRIVE}

    @property
    def may_be_on_own_topic(self) -> bool:
        """Whether a grant without a topic is for the policy's own one."""
        return self in {Purpose.MESSAGES, Purpose.REDRIVE}


class GrantEntry(NamedTuple):
    """Grant that one entry of a policy declares: an action of an identity, with or without a group.

    `topic` is a retry topic or the dead-letter topic, empty for the policy's own one. `stream` is
    the stream from which the identity reads it.
    """

    identity: Ref
    action: Action
    group: str = ""
    purpose: Purpose = Purpose.MESSAGES
    topic: str = ""
    stream: str = ""


def entries_of(policy: TopicPolicy) -> frozenset[GrantEntry]:
    """Return every grant that a policy declares."""
    return frozenset((*_producing(policy), *_consuming(policy), *_reviewing(policy)))


def retry_of(policy: TopicPolicy, identity: Ref, group: str) -> RetryTopic | None:
    """Return the retry topic of a consumer, the first one if it is listed several times."""
    here = policy.ref.namespace
    listed = (
        each.retry
        for each in policy.spec.consumers
        if (each.identity.seen_from(here), each.group or "") == (identity, group)
    )
    return next(filter(None, listed), None)


def consumers_of(policy: TopicPolicy) -> tuple[tuple[Ref, str], ...]:
    """Return the identity and the group of each consumer of a policy, sorted."""
    here = policy.ref.namespace
    found = {(each.identity.seen_from(here), each.group or "") for each in policy.spec.consumers}
    return tuple(sorted(found))


def _producing(policy: TopicPolicy) -> Iterator[GrantEntry]:
    for each in policy.spec.producers:
        yield GrantEntry(each.identity.seen_from(policy.ref.namespace), Action.PUBLISH)


def _consuming(policy: TopicPolicy) -> Iterator[GrantEntry]:
    letters = policy.spec.dead_letter
    for identity, group in consumers_of(policy):
        yield GrantEntry(identity, Action.CONSUME, group)
        if letters is not None:
            yield GrantEntry(
                identity, Action.PUBLISH, purpose=Purpose.DEAD_LETTERS, topic=letters.topic
            )
        retry = retry_of(policy, identity, group)
        if retry is not None:
            yield GrantEntry(
                *(identity, Action.CONSUME, group, Purpose.RETRY, retry.topic, retry.stream or "")
            )


def _reviewing(policy: TopicPolicy) -> Iterator[GrantEntry]:
    letters = policy.spec.dead_letter
    if letters is None or letters.reviewer is None:
        return
    reviewer = letters.reviewer.seen_from(policy.ref.namespace)
    yield review_entry(reviewer, letters)
    yield GrantEntry(reviewer, Action.PUBLISH, purpose=Purpose.RECORDS, topic=letters.topic)
    for identity, group in consumers_of(policy):
        retry = retry_of(policy, identity, group)
        # without a retry topic, messages are delivered again on the policy's own one
        topic = "" if retry is None else retry.topic
        yield GrantEntry(reviewer, Action.PUBLISH, purpose=Purpose.REDRIVE, topic=topic)


def review_entry(reviewer: Ref, letters: DeadLetter | None) -> GrantEntry:
    """Return the grant to read dead letters, with no topic if nothing declares them."""
    topic, stream = ("", "") if letters is None else (letters.topic, letters.stream or "")
    return GrantEntry(reviewer, Action.REVIEW, "", Purpose.REVIEW, topic, stream)
