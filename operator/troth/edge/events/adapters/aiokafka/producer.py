"""Producers for aiokafka: one for events, and one for a consumer's dead letters."""

import asyncio
from collections.abc import Callable
from time import time
from types import TracebackType
from typing import Any, Final, Self

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, RecordListTooLargeError

from troth.documents.client_name import client_name
from troth.edge.events.adapters.aiokafka.closing import close_producer
from troth.edge.events.adapters.kafka_files import Source, combined
from troth.edge.events.bindings import kafka
from troth.edge.events.consumption.flow import TooLargeError, UnavailableError
from troth.edge.events.message import Sealed
from troth.edge.events.opening import MOST_BYTES
from troth.edge.events.sealing import Sealer
from troth.edge.identity.files import Identity
from troth.edge.identity.snapshot import IdentityError

DELIVERY_SECONDS: Final = 10.0
"""Time in seconds for the broker to acknowledge a dead letter."""


class EventProducer:
    """Seals the events of one policy, and produces them."""

    def __init__(
        self,
        identity: Identity,
        policy: str,
        configuration: Source | AIOKafkaProducer,
        *,
        most_bytes: int = MOST_BYTES,
        clock: Callable[[], float] = time,
    ) -> None:
        """Create a producer, which connects in `start`.

        `policy` is `<namespace>/<name>` of a TopicPolicy. With a `configuration`, the producer is
        idempotent, so all replicas acknowledge an event, and its client ID names library and policy
        for Troth. An `AIOKafkaProducer` of your own is used as it is, and you start and stop it:
        set its `client_id` with `troth.documents.client_name`, or Troth reports an unguarded
        client.

        `most_bytes` limits an event's data, and `clock` returns seconds since the epoch.
        """
        self.sealer = Sealer(identity, policy, most_bytes=most_bytes, clock=clock)
        self._producer: Any = None
        self._source: Source | None = None
        if isinstance(configuration, AIOKafkaProducer):
            self._producer = configuration
        else:
            self._source = configuration

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Wait until all events are acknowledged or have failed, and close the connections."""
        await self.stop()

    async def start(self) -> None:
        """Connect; raises the library's errors, and `ValueError` for an unsafe configuration."""
        if self._source is not None and self._producer is None:
            self._producer = await _started(self._source, self.sealer.policy)

    async def stop(self) -> None:
        """Wait until all events are acknowledged or have failed, and close the connections."""
        if self._source is not None and self._producer is not None:
            producer, self._producer = self._producer, None
            await producer.stop()

    async def produce(
        self,
        data: bytes,
        *,
        type: str,  # noqa: A002 - the attribute's name in CloudEvents
        key: bytes | None = None,
        partition: int | None = None,
        **options: Any,  # noqa: ANN401 - those of `Sealer.seal`
    ) -> Sealed:
        """Seal an event, produce it and wait until it is acknowledged; return it as it was sealed.

        The other options are those of `Sealer.seal`, which also says what this raises. Raises the
        library's errors if the event is not acknowledged. The key is not part of the event: no seal
        covers it.
        """
        if self._producer is None:
            raise RuntimeError("the producer is not started; call start, or use it in async with")
        sealed = self.sealer.seal(data, type=type, **options)
        headers = kafka.headers(sealed)
        await self._producer.send_and_wait(
            sealed.topic, sealed.data, key=key, partition=partition, headers=headers
        )
        return sealed


class DeadLetterProducer:
    """Produces a consumer's dead letters. After a failure the next one gets a new client."""

    def __init__(self, configuration: Source, policy: str) -> None:
        self._source = configuration
        self._policy = policy
        self._producer: Any = None
        self._starting = asyncio.Lock()
        self._stopping: set[asyncio.Task[None]] = set()

    async def publish(self, sealed: Sealed, key: bytes | None) -> None:
        """Return once a dead letter is acknowledged; raises `UnavailableError`, `TooLargeError`."""
        producer: Any = None
        try:
            async with asyncio.timeout(DELIVERY_SECONDS):
                producer = await self._started()
                headers = kafka.headers(sealed)
                await producer.send_and_wait(sealed.topic, sealed.data, key=key, headers=headers)
        except (MessageSizeTooLargeError, RecordListTooLargeError) as error:
            raise TooLargeError(type(error).__name__) from None
        except (KafkaError, IdentityError, OSError) as error:  # a timeout is an OSError
            await self._drop(producer)
            raise UnavailableError(type(error).__name__) from None

    async def close(self) -> None:
        """Close the connections."""
        await self._drop(self._producer)
        if self._stopping:
            await asyncio.wait(self._stopping, timeout=DELIVERY_SECONDS)

    async def _started(self) -> AIOKafkaProducer:
        async with self._starting:
            if self._producer is None:
                self._producer = await _started(self._source, self._policy)
            return self._producer

    async def _drop(self, producer: Any) -> None:  # noqa: ANN401 - the library has no types
        if producer is None:
            return
        if self._producer is producer:
            self._producer = None
        # In a task of its own, because the library closes nothing if its `stop` is cancelled.
        stopping = asyncio.create_task(close_producer(producer, DELIVERY_SECONDS))
        self._stopping.add(stopping)
        stopping.add_done_callback(self._stopping.discard)
        await asyncio.wait({stopping}, timeout=DELIVERY_SECONDS)


async def _started(source: Source, policy: str) -> AIOKafkaProducer:
    own = {"client_id": client_name([policy]), "enable_idempotence": True}
    producer = AIOKafkaProducer(**combined(source, own, {}))
    try:
        await producer.start()
    except BaseException:
        await producer.stop()
        raise
    return producer
