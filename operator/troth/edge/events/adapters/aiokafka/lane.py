"""A partition, whose messages are consumed one after the other."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import ConsumerRecord

from troth.edge.events.adapters.kafka_files import letter_key
from troth.edge.events.bindings import kafka
from troth.edge.events.consumption.driving import Async, Duplicates
from troth.edge.events.consumption.flow import Consumption
from troth.edge.events.message import Message, Sealed
from troth.edge.events.rejection import Reason, Rejection

_MILLISECOND = 0.001
_LOG_APPEND_TIME = 1


class Letters(Protocol):
    """Producer of dead letters."""

    async def publish(self, sealed: Sealed, key: bytes | None) -> None:
        """Return once a dead letter is acknowledged."""


class Lane:
    """Consumes the messages of one partition, until it is ended.

    While a message waits, or its dead letter is published, another lane may call the handler.
    """

    def __init__(
        self,
        consumer: AIOKafkaConsumer,
        place: TopicPartition,
        consumption: Consumption,
        *,
        handle: Callable[[Any], Awaitable[object]],
        letters: Letters,
        duplicates: Duplicates | None,
        turns: asyncio.Semaphore,
        done: Callable[[TopicPartition, int], object],
    ) -> None:
        """Begin in a task of its own.

        `turns` has as many permits as events may be handled at once. `done` is called with the
        offset of the next message after each message that may be committed.
        """
        self._consumer = consumer
        self._place = place
        self._consumption = consumption
        self._letters = letters
        self._turns = turns
        self._done = done
        self._driver = Async(
            handle=handle, publish=self._publish, duplicates=duplicates, wait=self._wait
        )
        self._key: bytes | None = None
        self._has_turn = False
        self.is_ending = False
        self.task = asyncio.create_task(self._run())

    def end(self) -> None:
        """Let the task end: at once if the message waits, otherwise after the current handler."""
        self.is_ending = True
        if not self._has_turn:
            self.task.cancel()

    async def _run(self) -> None:
        while True:
            try:
                record = await self._consumer.getone(self._place)
            except UnicodeDecodeError:
                # aiokafka decodes a batch from its start, so this ends with the batch.
                offset = await self._consumer.position(self._place)
                await self._consume(unreadable(self._place, offset), None)
                self._consumer.seek(self._place, offset + 1)
            else:
                await self._consume(message_of(record), record.key)

    async def _consume(self, message: Message, key: bytes | None) -> None:
        assert message.offset is not None
        self._key = key
        await self._take_turn()
        try:
            await self._driver.run(self._consumption.flow(message))
        finally:
            self._give_turn()
        self._done(self._place, message.offset + 1)
        self._end_if_due()

    async def _publish(self, sealed: Sealed) -> None:
        self._rest()
        await self._letters.publish(sealed, letter_key(self._key))
        await self._take_turn()

    async def _wait(self, seconds: float) -> None:
        self._rest()
        await asyncio.sleep(seconds)
        await self._take_turn()

    def _rest(self) -> None:
        """Let another lane call the handler."""
        self._give_turn()
        self._end_if_due()

    async def _take_turn(self) -> None:
        await self._turns.acquire()
        self._has_turn = True

    def _give_turn(self) -> None:
        if self._has_turn:
            self._has_turn = False
            self._turns.release()

    def _end_if_due(self) -> None:
        if self.is_ending:
            raise asyncio.CancelledError


def message_of(record: ConsumerRecord[bytes, bytes]) -> Message:
    """Return a record as a message. Only the broker's own timestamp counts."""
    stamped = record.timestamp_type == _LOG_APPEND_TIME
    return kafka.read(
        record.topic,
        list(record.headers),
        record.value,
        stored_at=record.timestamp * _MILLISECOND if stamped else None,
        partition=record.partition,
        offset=record.offset,
    )


def unreadable(place: TopicPartition, offset: int) -> Message:
    """Return a record that aiokafka cannot read as a message without headers and data."""
    fault = Rejection(
        Reason.MALFORMED,
        "the library cannot read the record: it, or an earlier one of its batch, has the name of a "
        "header that is not UTF-8; headers and data are in the original message alone",
    )
    return Message(place.topic, {}, None, partition=place.partition, offset=offset, fault=fault)
