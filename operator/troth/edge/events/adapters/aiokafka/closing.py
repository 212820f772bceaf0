"""Closes clients of aiokafka, also where the library's `stop` fails.

The library's `stop` ends at its first failure. Then it has closed nothing, and called again it does
nothing.
"""
# ruff: noqa: SLF001 - the library has no other way

import asyncio
import logging

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError, KafkaError

_LOG = logging.getLogger("troth.edge.events")
_COORDINATION = ("_coordination_task", "_heartbeat_task", "_commit_refresh_task")


async def close_consumer(consumer: AIOKafkaConsumer) -> None:
    """Let a consumer leave its group, and close its connections.

    Raises a failure that neither the broker nor the network can cause, once all is closed.
    """
    stopping = asyncio.create_task(consumer.stop())
    await asyncio.wait({stopping})
    error = _error(stopping)
    if error is None:
        return
    tasks = _tasks(consumer)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await consumer._client.close()
    # The library cancels a fetch that waits after an error, and raises its cancellation.
    if not isinstance(error, KafkaError | OSError | asyncio.CancelledError):
        raise error
    _LOG.warning("Consumer left Kafka with %s", type(error).__name__)


async def close_producer(producer: AIOKafkaProducer, within: float) -> None:
    """Let a producer deliver what it has for that many seconds, and close its connections.

    An idempotent producer would repeat what a broker rejects for as long as that may change.
    """
    stopping = asyncio.create_task(producer.stop())
    await asyncio.wait({stopping}, timeout=within)
    if not stopping.done():
        producer._message_accumulator.fail_all(KafkaConnectionError("closed"))
        await asyncio.wait({stopping})
    error = _error(stopping)
    if error is not None:
        await producer.client.close()
        _LOG.warning("Producer left Kafka with %s", type(error).__name__)


def _error(stopping: asyncio.Task[None]) -> BaseException | None:
    return asyncio.CancelledError() if stopping.cancelled() else stopping.exception()


def _tasks(consumer: AIOKafkaConsumer) -> list[asyncio.Task[None]]:
    """Return the library's tasks that use connections."""
    coordinator, fetcher = consumer._coordinator, consumer._fetcher
    found = [getattr(coordinator, name, None) for name in _COORDINATION]
    if fetcher is not None:
        found += [fetcher._fetch_task, *fetcher._pending_tasks]
    return [each for each in found if each is not None]
