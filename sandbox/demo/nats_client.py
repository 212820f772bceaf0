"""A service at NATS: it knows the files of its credential's Secret, and nothing of Troth.

    python -m sandbox.demo.nats_client DIRECTORY publish TOPIC MESSAGE
    python -m sandbox.demo.nats_client DIRECTORY consume STREAM DURABLE

`DIRECTORY` holds the Secret's files. NATS tells a client of a refusal beside the answer that it
waits for, and that answer never comes; so whichever comes first counts.
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
GOODBYE = 0.5  # seconds; the library waits for one even where the server has hung up
REFUSED = 1  # as which the program ends

T = TypeVar("T")


class RefusedError(Exception):
    """The server refuses; the message is its own."""


class NatsClient:
    """One connection, with the credential of a Secret."""

    def __init__(self) -> None:
        self._client = Client()
        self._refusals: asyncio.Queue[str] = asyncio.Queue()
        self._ended = asyncio.Event()

    async def connect(self, files: Path, credential: Path | None = None) -> None:
        """Log in with the files of a Secret, or with another `.creds` in the place of its own.

        Raises `RefusedError` if it is not let in.
        """
        try:
            async with asyncio.timeout(SECONDS):
                await self._client.connect(
                    (files / "servers").read_text().split(","),
                    tls=ssl.create_default_context(cafile=files / "ca.crt"),
                    user_credentials=credential or files / "user.creds",
                    inbox_prefix=(files / "inbox.prefix").read_text(),
                    error_cb=self._told,
                    disconnected_cb=self._cut,
                    allow_reconnect=False,
                    max_reconnect_attempts=1,
                    reconnect_time_wait=0,
                )
        except errors.Error as error:
            await self.close()
            raise RefusedError(_words(error)) from None

    async def publish(self, topic: str, message: str) -> str:
        """Publish to a topic that a stream keeps; return where it is kept, once it is."""
        kept = await self._answered(self._client.jetstream().publish(topic, message.encode()))
        return f"{kept.stream}, message {kept.seq}"

    async def consume(self, stream: str, durable: str) -> str:
        """Take one message by a durable consumer, and return it, acknowledged."""
        jetstream = self._client.jetstream(timeout=SECONDS)
        subscription = await jetstream.pull_subscribe_bind(durable=durable, stream=stream)
        (message,) = await self._answered(subscription.fetch(1, timeout=SECONDS))
        await message.ack()
        await self._settled()
        return str(message.data.decode())

    async def listen(self, topic: str) -> None:
        """Subscribe to a topic, past any stream."""
        await self._client.subscribe(topic)
        await self._settled()

    async def until_cut(self, seconds: float) -> bool:
        """Wait until the server ends the connection; return whether it does."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._ended.wait(), seconds)
        return self._ended.is_set()

    async def close(self) -> None:
        """Let go of the server."""
        with contextlib.suppress(errors.Error, OSError, TimeoutError):
            await asyncio.wait_for(self._client.close(), GOODBYE)

    async def _answered(self, asking: Awaitable[T]) -> T:
        """Return an answer; raises `RefusedError` if a refusal comes first."""
        task = asyncio.ensure_future(asking)
        refused = asyncio.ensure_future(self._refusals.get())
        try:
            await asyncio.wait(
                {task, refused}, timeout=SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
            if refused.done():
                raise RefusedError(refused.result())
            if not task.done():
                raise TimeoutError
            return task.result()
        finally:
            task.cancel()
            refused.cancel()

    async def _settled(self) -> None:
        """Return once the server has dealt with all that was sent; raises `RefusedError`."""
        # What it refuses it says before it answers to what was sent after it.
        for _ in range(2):
            await self._client.flush(timeout=int(SECONDS))
        if not self._refusals.empty():
            raise RefusedError(self._refusals.get_nowait())

    async def _told(self, error: Exception) -> None:
        self._refusals.put_nowait(_words(error))

    async def _cut(self) -> None:
        self._ended.set()


def _words(error: Exception) -> str:
    return str(error).removeprefix("nats: ").strip("'")


async def main(directory: str, action: str, what: str, more: str) -> int:
    """Do one thing, and print what became of it."""
    hush()
    client = NatsClient()
    try:
        await client.connect(Path(directory))
        actions = {"publish": client.publish, "consume": client.consume}
        print(await actions[action](what, more))
    except RefusedError as error:
        print(f"refused: {error}")
        return REFUSED
    finally:
        await client.close()
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(*sys.argv[1:])))
