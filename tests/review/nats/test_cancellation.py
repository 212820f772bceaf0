"""Who uses a dead-letter topic ends when cancelled, even if the library drops the cancellation.

asyncio.wait_for of Python 3.11 drops a cancellation that comes with the answer.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client
from nats.aio.subscription import Subscription

from tests.review.nats.stand import Stand
from troth.review.index.feeder import Feeder
from troth.review.index.store import LetterIndex

SOON = 30.0
"""Limit in seconds for what would otherwise never end, however busy the machine is."""


async def test_reading_ends(stand: Stand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await stand.open()
    await stand.store(*(stand.bury() for _ in range(3)))
    topic, index = stand.topic(), LetterIndex(tmp_path / "index")
    feeder = Feeder(topic, index, stand.reader(), check_seconds=10 * SOON)
    task = asyncio.create_task(feeder.run())
    await feeder.caught_up()
    await cancel_with_answer(task, monkeypatch, Subscription, "next_msg")
    await topic.close()
    index.close()


async def test_recording_ends(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    await stand.open()
    topic, letter = stand.topic(), stand.bury()

    async def record() -> None:
        while True:
            await topic.record(letter)

    task = asyncio.create_task(record())
    await cancel_with_answer(task, monkeypatch, Client, "request")
    await topic.close()


async def cancel_with_answer(
    task: asyncio.Task[Any], monkeypatch: pytest.MonkeyPatch, kind: type, method: str
) -> None:
    """Cancel a task when a method of the library has its answer, and wait for its end."""
    answer: Callable[..., Awaitable[Any]] = getattr(kind, method)

    async def drop(*given: Any, **options: Any) -> Any:
        answered = await answer(*given, **options)
        if asyncio.current_task() is task and not task.cancelling():
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0)
        return answered

    monkeypatch.setattr(kind, method, drop)
    await asyncio.wait({task}, timeout=SOON)
    assert task.cancelled()
