"""Reading of dead-letter topics, and indexes that follow them, in tests."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from troth.resources.references import Ref
from troth.resources.reviews.dead_letter_review import Letters
from troth.review.brokers import DeadLetterTopic, Stored
from troth.review.index.feeder import Feeder
from troth.review.index.store import LetterIndex
from troth.review.letters.letter import LetterState
from troth.review.letters.reading import LetterReader

ORDERS = Ref("shop", "orders")


@asynccontextmanager
async def feeding(
    reader: LetterReader, topic: DeadLetterTopic, path: Path
) -> AsyncIterator[tuple[Feeder, LetterIndex]]:
    """An index that follows a topic, with looks in quick succession."""
    index = LetterIndex(path)
    feeder = Feeder(topic, index, reader, check_seconds=0.2, retry_seconds=0.2)
    task = asyncio.create_task(feeder.run())
    try:
        yield feeder, index
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        index.close()


async def read_all(topic: DeadLetterTopic, positions: dict[int, int] | None = None) -> list[Stored]:
    """Read until nothing new comes."""
    found: list[Stored] = []
    batches = topic.read(positions or {})
    async for batch in batches:
        if not batch:
            break
        found += batch
    await batches.aclose()  # type: ignore[attr-defined]
    return found


def pending(index: LetterIndex, states: Iterable[LetterState] = ()) -> list[str]:
    """Return the IDs of the letters without a decision, in the order of their places."""
    return [each.id for each in index.select(ORDERS, Letters(), None, states=tuple(states))]


async def until(condition: Callable[[], bool]) -> None:
    """Wait until a condition of the index holds."""
    while not condition():  # noqa: ASYNC110 - the index has no event
        await asyncio.sleep(0.02)
