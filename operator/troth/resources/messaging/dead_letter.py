"""Dead letters of a `TopicPolicy`: their topic and review, and the retry topics of consumers."""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from troth.resources.messaging.names import StreamName, TopicName
from troth.resources.references import Reference
from troth.resources.schema.model import Model
from troth.resources.schema.scalars import Duration, duration_between


class RetryTopic(Model):
    """Topic that one consumer alone receives, for messages that a review delivers again."""

    topic: TopicName
    """Name of the topic. The broker enforces that this consumer receives it, and that the worker of
    `deadLetter.reviewer` publishes to it while a review is carried out."""
    stream: StreamName | None = None
    """NATS stream that stores it. The consumer's group is its durable consumer there too."""


class Review(StrEnum):
    """Whether a person reviews messages that could not be consumed."""

    REQUIRED = "Required"
    OPTIONAL = "Optional"


class DeadLetter(Model):
    """Topic to which consumers publish messages that they could not consume."""

    topic: TopicName
    """Name of the topic. The policy's consumers may publish to it, and the broker enforces this
    grant. The edge library in consumers sends rejected messages to it."""
    stream: StreamName | None = None
    """NATS stream that stores the dead letters. The worker of `reviewer` reads it."""
    review: Review = Review.REQUIRED
    """Review of a message before it is published again. Required (default): a person requests it in
    a DeadLetterReview. Optional: a program may publish it again too."""
    reviewer: Reference | None = None
    """ServiceIdentity of the worker that carries out reviews, `troth review`. It must list this
    policy under reviews. It may read the dead letters, record there what was decided, and publish
    to the consumers while an approved review is carried out; the broker enforces this. Without it,
    nobody carries out reviews."""
    approvals: Annotated[int, Field(ge=0, le=1, strict=True)] = 1
    """Number of other users who must approve a review: 1 (default) or 0. The worker enforces it."""
    redrive_limit: Annotated[int, Field(ge=1, le=100, strict=True)] = 3
    """Maximum number of redrives of one message. Default 3. The worker quarantines a message that
    was redriven this often and has failed again."""
    retention: Annotated[Duration, duration_between("1h", "87600h")] = timedelta(hours=2160)
    """Time for which the worker keeps the record of what was decided about a letter. Default 2160h.
    """
