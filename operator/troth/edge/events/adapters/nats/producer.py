"""Producers for nats-py: one for events, and one for a consumer's dead letters."""

import json
from collections.abc import Callable
from hashlib import sha256
from time import time
from typing import Any, Final

from nats.aio.client import Client
from nats.errors import Error, MaxPayloadError
from nats.js.errors import APIError

from troth.edge.events.bindings import nats
from troth.edge.events.consumption.dead_letters import TYPE
from troth.edge.events.consumption.flow import TooLargeError, UnavailableError
from troth.edge.events.message import Sealed
from troth.edge.events.opening import MOST_BYTES
from troth.edge.events.rights import rights_of
from troth.edge.events.sealing import Sealer
from troth.edge.identity.files import Identity

PUBLISH_SECONDS: Final = 5.0
"""Default time in seconds for a server to acknowledge an event."""

_MESSAGE_ID = "Nats-Msg-Id"
"""Header by which a stream recognises a message that is published twice within its window."""
_LINE = len("NATS/1.0\r\n\r\n")
_SEPARATORS = len(": \r\n")
_DENIED = "permissions violation"
_TOO_LARGE = frozenset({10054, 10097})
"""Error codes of JetStream for a message, and for its headers."""


class EventProducer:
    """Seals the events of one policy, and publishes them."""

    def __init__(
        self,
        identity: Identity,
        policy: str,
        client: Client,
        *,
        acknowledged: bool | None = None,
        most_bytes: int = MOST_BYTES,
        clock: Callable[[], float] = time,
    ) -> None:
        """Create a producer that uses a connected client.

        `policy` is `<namespace>/<name>` of a TopicPolicy. `acknowledged` is whether a stream
        acknowledges events, by default whether the policy names one. `most_bytes` limits an event's
        data, and `clock` returns seconds since the epoch.
        """
        self.sealer = Sealer(identity, policy, most_bytes=most_bytes, clock=clock)
        self._identity = identity
        self._client = client
        self._acknowledged = acknowledged

    async def publish(
        self,
        data: bytes,
        *,
        type: str,  # noqa: A002 - the attribute's name in CloudEvents
        timeout: float = PUBLISH_SECONDS,  # noqa: ASYNC109 - that of the library's call
        **options: Any,  # noqa: ANN401 - those of `Sealer.seal`
    ) -> Sealed:
        """Seal an event and publish it; return it as it was sealed.

        The other options are those of `Sealer.seal`, which also says what this raises. The
        header `Nats-Msg-Id` is a digest of the event's source, topic and ID, so a stream stores
        the event once if it is published again soon.
        Raises the library's errors, such as for an event that no stream acknowledged in time.
        """
        sealed = self.sealer.seal(data, type=type, **options)
        await _publish(self._client, sealed, timeout, acknowledged=self._is_acknowledged())
        return sealed

    def _is_acknowledged(self) -> bool:
        if self._acknowledged is not None:
            return self._acknowledged
        rights = rights_of(self._identity.current, self.sealer.policy, "Publish", None)
        return rights.granted.stream is not None


async def publish_dead_letter(client: Client, sealed: Sealed, *, acknowledged: bool) -> None:
    """Publish a dead letter, and wait for its stream's acknowledgement.

    Without a stream, wait until the server has processed it, which does not mean that anybody
    received it. Raises `UnavailableError` or `TooLargeError`.
    """
    # The server closes the connection of a client that exceeds its limit.
    if _size(sealed) > client.max_payload:
        raise TooLargeError(f"the server accepts {client.max_payload} bytes")
    try:
        await _publish(client, sealed, PUBLISH_SECONDS, acknowledged=acknowledged)
        if not acknowledged:
            await await_server(client, sealed.topic)
    except MaxPayloadError:
        raise TooLargeError(f"the server accepts {client.max_payload} bytes") from None
    except APIError as error:
        if error.err_code in _TOO_LARGE:
            raise TooLargeError(str(error.description)) from None
        raise UnavailableError(str(error.description)) from None
    except (Error, OSError, json.JSONDecodeError) as error:
        raise UnavailableError(type(error).__name__) from None


async def _publish(client: Client, sealed: Sealed, timeout: float, *, acknowledged: bool) -> None:  # noqa: ASYNC109
    headers = stream_headers(sealed)
    if acknowledged:
        jetstream = client.jetstream()
        await jetstream.publish(sealed.topic, sealed.data, timeout=timeout, headers=headers)
    else:
        await client.publish(sealed.topic, sealed.data, headers=headers)


async def await_server(client: Client, topic: str) -> None:
    """Return once the server has processed what was sent; raises `UnavailableError` for a denial.

    The library's flush writes its PING before what is still in its buffer. The answer to the first
    one shows only that the buffer has been written.
    """
    before = client.last_error
    for _ in range(2):
        await client.flush(timeout=int(PUBLISH_SECONDS))
    denial = client.last_error
    if denial is not before and denial is not None:
        text = str(denial).lower()
        if _DENIED in text and topic.lower() in text:
            raise UnavailableError(f"the server denies publishing to {topic}")


def stream_headers(sealed: Sealed) -> dict[str, str]:
    """Return the headers of an event for a stream, which stores a repeated one once.

    A stream compares IDs of all its producers, so the header has more than the event's ID. A dead
    letter has none: its ID can be predicted, and somebody could publish a message with it before.
    """
    headers = nats.headers(sealed)
    if sealed.attributes["type"] == TYPE:
        return headers
    whole = "\n".join((sealed.attributes["source"], sealed.topic, sealed.attributes["id"]))
    return {**headers, _MESSAGE_ID: sha256(whole.encode()).hexdigest()}


def _size(sealed: Sealed) -> int:
    headers = stream_headers(sealed)
    lines = sum(len(name) + len(value) + _SEPARATORS for name, value in headers.items())
    return _LINE + lines + len(sealed.data)
