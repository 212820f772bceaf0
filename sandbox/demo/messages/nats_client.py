"""A service at NATS: it reads the files of its credential's Secret and knows nothing of Troth.

    python -m sandbox.demo.messages.nats_client DIRECTORY publish TOPIC MESSAGE
    python -m sandbox.demo.messages.nats_client DIRECTORY consume STREAM DURABLE

`DIRECTORY` holds the Secret's files. NATS reports a rejection apart from the answer that the client
waits for, and then sends no answer; the client takes whichever comes first.
"""

import asyncio
import contextlib
import ssl
import sys
from collections.abc import Awaitable
from pathlib import Path
from typing import TypeVar

from nats import errors
from nats.aio.client import Client

from sandbox.brokers.nats import hush

SECONDS = 10.0
CLOSING = 0.5  # seconds; the library waits for one even where the server has closed
REJECTED = 1  # the exit code

T = TypeVar("T")


class RejectedError(Exception):
    """The server rejects the request; the message is its own."""


class NatsClient:
    """One connection, with the credential of a Secret."""

    def __init__(self) -> None:
        self._client = Client()
        self._rejections: asyncio.Queue[str] = asyncio.Queue()
        self._ended = asyncio.Event()

    async def connect(self, files: Path, credential: Path | None = None) -> None:
        """Log in with the files of a Secret, or with another `.creds` instead of its own.

        Raises `RejectedError` if the server rejects the login.
        """
        try:
            async with asyncio.timeout(SECONDS):
                await self._client.connect(
                    (files / "servers").read_text().split(","),
                    tls=ssl.create_default_context(cafile=files / "ca.crt"),
                    user_credentials=credential or files / "user.creds",
                    inbox_prefix=(files / "inbox.prefix").read_text(),
                    error_cb=self._on_error,
                    disconnected_cb=self._on_close,
                    allow_reconnect=False,
                    max_reconnect_attempts=1,
                    reconnect_time_wait=0,
                )
        except errors.Error as error:
            await self.close()
            raise RejectedError(_words(error)) from None

    async def publish(self, topic: str, message: str) -> str:
        """Publish to a topic of a stream; return the stream and number that the server confirms."""
        kept = await self._answered(self._client.jetstream().publish(topic, message.encode()))
        return f"{kept.stream}, message {kept.seq}"

    async def consume(self, stream: str, durable: str) -> str:
        """Receive and acknowledge one message by a durable consumer; return it."""
        jetstream = self._client.jetstream(timeout=SECONDS)
        subscription = await jetstream.pull_subscribe_bind(durable=durable, stream=stream)
        (message,) = await self._answered(subscription.fetch(1, timeout=SECONDS))
        await message.ack()
        await self._settled()
        return str(message.data.decode())

    async def listen(self, topic: str) -> None:
        """Subscribe to a topic without a stream."""
        await self._client.subscribe(topic)
        await self._settled()

    async def is_closed_within(self, seconds: float) -> bool:
        """Wait until the server closes the connection; return whether it does."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._ended.wait(), seconds)
        return self._ended.is_set()

    async def close(self) -> None:
        """Close the connection."""
        with contextlib.suppress(errors.Error, OSError, TimeoutError):
            await asyncio.wait_for(self._client.close(), CLOSING)

    async def _answered(self, request: Awaitable[T]) -> T:
        """Return an answer; raises `RejectedError` if a rejection comes first."""
        task = asyncio.ensure_future(request)
        rejected = asyncio.ensure_future(self._rejections.get())
        try:
            await asyncio.wait(
                {task, rejected}, timeout=SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
            if rejected.done():
                raise RejectedError(rejected.result())
            if not task.done():
                raise TimeoutError
            return task.result()
        finally:
            task.cancel()
            rejected.cancel()

    async def _settled(self) -> None:
        """Return when the server has processed all requests; raises `RejectedError`."""
        # The server reports a rejection before it answers later requests.
        for _ in range(2):
            await self._client.flush(timeout=int(SECONDS))
        if not self._rejections.empty():
            raise RejectedError(self._rejections.get_nowait())

    async def _on_error(self, error: Exception) -> None:
        self._rejections.put_nowait(_words(error))

    async def _on_close(self) -> None:
        self._ended.set()


def _words(error: Exception) -> str:
    return str(error).removeprefix("nats: ").strip("'")


async def main(directory: str, action: str, what: str, more: str) -> int:
    """Do one thing and print the result."""
    hush()
    client = NatsClient()
    try:
        await client.connect(Path(directory))
        actions = {"publish": client.publish, "consume": client.consume}
        print(await actions[action](what, more))
    except RejectedError as error:
        print(f"rejected: {error}")
        return REJECTED
    finally:
        await client.close()
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(*sys.argv[1:])))
