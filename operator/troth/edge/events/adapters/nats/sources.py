"""Sources of messages in NATS: the policy's topic, and the consumer's retry topic."""

import asyncio
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error, NotJSMessageError
from nats.js.api import AckPolicy, ConsumerConfig

from troth.documents.identity.document import Messages
from troth.edge.events.adapters.nats.pulling import Pull
from troth.edge.events.bindings import nats
from troth.edge.events.message import Message

FETCH_SECONDS = 1.0
"""Time in seconds for which a source waits for a message."""

_BATCH = 16


class Place(NamedTuple):
    """Subject whose messages a consumer receives, with its stream and its group.

    `other` is a further subject that the durable consumer may deliver.
    """

    subject: str
    stream: str | None
    group: str | None
    other: str | None = None


def own_place(granted: Messages) -> Place:
    """Return the place of the policy's messages.

    A stream has one durable consumer of a name. If it stores the retry topic too, this one delivers
    both.
    """
    retry = granted.retry
    shared = retry is not None and retry.stream is not None and retry.stream == granted.stream
    other = retry.topic if shared and retry is not None else None
    return Place(granted.topic or f"{granted.prefix}>", granted.stream, granted.group, other)


def retry_place(granted: Messages) -> Place | None:
    """Return the place of the messages that reviews deliver again, None if it is no further one."""
    retry = granted.retry
    if retry is None or (retry.stream is not None and retry.stream == granted.stream):
        return None
    return Place(retry.topic, retry.stream, granted.group)


@dataclass(eq=False, slots=True)
class Source:
    """Messages of one place, as the server delivers them.

    `room` has as many permits as messages may be in work. `fetched` have not been begun.
    `is_streamed` tells whether a stream stores the messages, so that they are acknowledged.
    """

    is_streamed: bool
    room: asyncio.Semaphore
    subscription: Pull | Subscription
    fetched: deque[Msg] = field(default_factory=deque)

    async def fetch(self) -> None:
        """Fetch messages if there are any soon; raises the library's errors."""
        try:
            if isinstance(self.subscription, Pull):
                await self.subscription.fetch(
                    self.fetched, _BATCH, wait=FETCH_SECONDS, patience=FETCH_SECONDS
                )
            else:
                self.fetched.append(await self.subscription.next_msg(timeout=FETCH_SECONDS))
        except TimeoutError:
            return


class Subscribed(NamedTuple):
    """Subscription, and the time until its stream delivers a message again, if one is known."""

    subscription: Pull | Subscription
    ack_wait: float | None = None


async def subscribed(client: Client, place: Place, given: Subscription | None) -> Subscribed:
    """Return a subscription to a place, or the one that the application gives.

    Raises the library's errors if there is no durable consumer, and `ValueError` if events would be
    lost with it, or others be delivered.
    """
    if given is not None:
        return Subscribed(given)
    if place.stream is None:
        return Subscribed(await client.subscribe(place.subject, queue=place.group or ""))
    assert place.group is not None
    config = (await client.jetstream().consumer_info(place.stream, place.group)).config
    if (fault := _fault(config, place)) is not None:
        raise ValueError(f"the durable consumer {place.group} of the stream {place.stream} {fault}")
    return Subscribed(await Pull.open(client, place.stream, place.group), config.ack_wait)


@dataclass(frozen=True, slots=True, eq=False)
class Taken:
    """Message that was received, and its source."""

    message: Msg
    source: Source


def message_of(taken: Taken) -> Message:
    """Return a received message; it has a place only in a stream."""
    message = taken.message
    place: dict[str, Any] = {}
    if taken.source.is_streamed:
        with suppress(NotJSMessageError):
            found = message.metadata
            place = {
                "stored_at": found.timestamp.timestamp(),
                "sequence": found.sequence.stream,
            }
    return nats.read(message.subject, message.headers, message.data, **place)


async def give_back(messages: Iterable[Taken]) -> None:
    """Let streams deliver messages again that were fetched and not consumed."""
    for each in messages:
        if each.source.is_streamed:
            with suppress(Error):
                await each.message.nak()


def _fault(config: ConsumerConfig, place: Place) -> str | None:
    """Return why events would be lost with a durable consumer, or others be delivered."""
    if config.ack_policy != AckPolicy.EXPLICIT:
        return (
            f"has the ack_policy {config.ack_policy}; create it with explicit, or messages are lost"
        )
    if (config.max_deliver or -1) > 0:
        return (
            f"has the max_deliver {config.max_deliver}, after which messages are lost; set it to -1"
        )
    filters = config.filter_subjects or [config.filter_subject or ""]
    # Without the filter of a retry topic, its messages wait in the stream.
    if place.subject not in filters or not {*filters} <= {place.subject, place.other}:
        found = ", ".join(each for each in filters if each) or "none"
        wanted = f"filter_subject to {place.subject}"
        if place.other is not None:
            wanted = f"filter_subjects to {place.subject} and {place.other}"
        return f"has the filter {found}; set {wanted}"
    return None
