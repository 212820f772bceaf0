"""A service at Kafka: it knows the files of its credential's Secret, and nothing of Troth.

Whom Kafka does not let in is told so by `error_cb` alone, so that is listened to as well.
"""

import time
from collections.abc import Callable
from pathlib import Path

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer

SECONDS = 20.0
PAUSE, LOOK = 0.02, 0.1
NOT_LET_IN = (KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED)  # noqa: SLF001

UNANSWERED = (KafkaError._TRANSPORT, KafkaError._TIMED_OUT)  # noqa: SLF001


class RefusedError(Exception):
    """The server refuses; the message is its own."""


def properties(files: Path) -> dict[str, str]:
    """Return what the Secret's `client.properties` says, the CA's file found beside it."""
    lines = (files / "client.properties").read_text().splitlines()
    read = {name: value for name, _, value in (line.partition("=") for line in lines)}
    return read | {"ssl.ca.location": str(files / read["ssl.ca.location"])}


class KafkaClient:
    """One principal, with a producer whose connection stays open; consumers come and go."""

    def __init__(self, configuration: dict[str, str]) -> None:
        self._configuration = {**configuration, "log_level": 0, "error_cb": self._told}
        self._errors: list[KafkaError] = []
        self._producer = Producer({**self._configuration, "linger.ms": 0})

    def log_in(self) -> str:
        """Ask for nothing but to be let in; raises `RefusedError` if it is not."""

        def look() -> str:
            self._producer.poll(0)  # which is when it is told of errors
            self._producer.list_topics(timeout=LOOK)
            return "let in"

        return self._asked(look)

    def publish(self, topic: str, message: str) -> str:
        """Publish, and return where the message is kept, once it is."""
        kept: list[str] = []
        failed: list[KafkaError] = []

        def delivered(error: KafkaError | None, message: object) -> None:
            if error is not None:
                failed.append(error)
            else:
                kept.append(f"partition {message.partition()}, offset {message.offset()}")  # type: ignore[attr-defined]

        def look() -> str:
            self._producer.poll(PAUSE)
            if failed:
                raise RefusedError(_words(failed[0]))
            return kept[0] if kept else ""

        self._producer.produce(topic, message.encode(), on_delivery=delivered)
        return self._asked(look)

    def consume(self, topic: str, group: str) -> str:
        """Take one message in a consumer group, and return it, its offset committed."""
        consumer = Consumer(
            {
                **self._configuration,
                "group.id": group,
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
            }
        )

        def look() -> str:
            message = consumer.poll(PAUSE)
            if message is None:
                return ""
            if error := message.error():
                raise RefusedError(_words(error))
            consumer.commit(message=message, asynchronous=False)
            return (message.value() or b"").decode()

        try:
            consumer.subscribe([topic])
            return self._asked(look)
        finally:
            consumer.close()

    def _told(self, error: KafkaError) -> None:
        self._errors.append(error)

    def _asked(self, look: Callable[[], str]) -> str:
        """Look until there is an answer; raises `RefusedError`, or `TimeoutError` without any."""
        self._errors.clear()
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            try:
                if found := look():
                    return found
            except KafkaException as failed:
                if failed.args[0].code() not in UNANSWERED:
                    raise RefusedError(_words(failed.args[0])) from None
            for error in self._errors:
                if error.code() in NOT_LET_IN:
                    raise RefusedError(_words(error))
        raise TimeoutError(", ".join(map(_words, self._errors)))


def _words(error: KafkaError) -> str:
    """Return the server's sentence where librdkafka quotes one, else the name of the error."""
    _, _, quoted = error.str().partition("SASL authentication error: ")
    reason = quoted.partition(" (")[0].rpartition(" due to ")[2]
    return reason or str(error.name())
