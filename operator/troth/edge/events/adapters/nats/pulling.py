"""Pulls the messages of a stream's consumer.

The library's own `fetch` takes a stored message with a header `Status` for an answer of the server,
and drops it: nobody opens or acknowledges it.
"""

import json
from asyncio import get_running_loop
from collections import deque
from typing import Any, Final, Self

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error
from nats.js.api import Header

_STORED: Final = "$JS.ACK."
"""Begin of the reply subject of a message from a stream. Messages of the server have none."""
_NOTHING: Final = frozenset({"404", "408"})
"""Status of the server if no message came, or no further one."""


class PullEndedError(Error):
    """The server ended a request: the stream or the consumer was changed, deleted or is busy."""


class Pull:
    """Messages of one consumer, on request."""

    def __init__(
        self, client: Client, stream: str, consumer: str, inbox: str, subscription: Subscription
    ) -> None:
        """Use `open` instead."""
        self._client = client
        self._subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._inbox = inbox
        self._subscription = subscription
        self._requests = 0

    @classmethod
    async def open(cls, client: Client, stream: str, consumer: str) -> Self:
        """Subscribe to an inbox for the messages of a consumer."""
        inbox = client.new_inbox()
        return cls(client, stream, consumer, inbox, await client.subscribe(f"{inbox}.*"))

    async def fetch(self, found: deque[Msg], most: int, *, wait: float, patience: float) -> None:
        """Append the messages that the stream has now, at most `most`, to the empty `found`.

        If it has none, wait up to `wait` seconds for one; with 0 do not wait. No request remains,
        so no message comes while nobody asks; what came before a cancellation is in `found`.
        `patience` is the time in seconds for the server to answer. Raises `PullEndedError`, and the
        library's errors.
        """
        await self._request(found, most, {"no_wait": True}, patience)
        if not found and wait > 0:
            await self._request(found, 1, {"expires": int(wait * 1e9)}, wait + patience)

    async def unsubscribe(self) -> None:
        """Receive nothing more."""
        await self._subscription.unsubscribe()

    async def _request(
        self, found: deque[Msg], most: int, options: dict[str, Any], patience: float
    ) -> None:
        self._requests += 1
        # The server sends a status to the inbox of its request, so an old one is recognised.
        inbox = f"{self._inbox}.{self._requests}"
        request = json.dumps({"batch": most} | options).encode()
        await self._client.publish(self._subject, request, reply=inbox)
        clock = get_running_loop().time
        end = clock() + patience
        while len(found) < most:
            try:
                message = await self._subscription.next_msg(timeout=max(end - clock(), 0.001))
            except TimeoutError:
                break
            if message.reply.startswith(_STORED):
                found.append(message)
            elif message.subject == inbox:
                status = (message.headers or {}).get(Header.STATUS)
                if status not in _NOTHING and not found:
                    raise PullEndedError
                break
