"""A service at Kafka: it reads the files of its credential's Secret and knows nothing of Troth.

librdkafka reports a rejected login to `error_cb` only.
"""

import time
from collections.abc import Callable
from pathlib import Path

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer

SECONDS = 20.0
PAUSE, POLL = 0.02, 0.1
LOGIN_REJECTED = (KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED)  # noqa: SLF001

UNANSWERED = (KafkaError._TRANSPORT, KafkaError._TIMED_OUT)  # noqa: SLF001


class RejectedError(Exception):
    """The server rejects the request; the message is its own."""


def properties(files: Path) -> dict[str, str]:
    """Return the Secret's `client.properties`, with the path of the CA file beside it."""
    lines = (files / "client.properties").read_text().splitlines()
    read = {name: value for name, _, value in (line.partition("=") for line in lines)}
    return read | {"ssl.ca.location": str(files / read["ssl.ca.location"])}


class KafkaClient:
    """One principal, with a producer whose connection stays open; consumers come and go."""

    def __init__(self, configuration: dict[str, str]) -> None:
        self._configuration = {**configuration, "log_level": 0, "error_cb": self._on_error}
        self._errors: list[KafkaError] = []
        self._producer = Producer({**self._configuration, "linger.ms": 0})

    def log_in(self) -> str:
        """Log in and do nothing else; raises `RejectedError` if the server rejects it."""

        def poll() -> str:
            self._producer.poll(0)  # calls error_cb
            self._producer.list_topics(timeout=POLL)
            return "accepted"

        return self._answered(poll)

    def publish(self, topic: str, message: str) -> str:
        """Publish; return the partition and offset that the server confirms."""
        kept: list[str] = []
        failed: list[KafkaError] = []

        def delivered(error: KafkaError | None, message: object) -> None:
            if error is not None:
                failed.append(error)
            else:
                kept.append(f"partition {message.partition()}, offset {message.offset()}")  # type: ignore[attr-defined]

        def poll() -> str:
            self._producer.poll(PAUSE)
            if failed:
                raise RejectedError(_words(failed[0]))
            return kept[0] if kept else ""

        try:
            self._producer.produce(topic, message.encode(), on_delivery=delivered)
        except KafkaException as rejected:  # librdkafka remembers an earlier answer of the server
            raise RejectedError(_words(rejected.args[0])) from None
        return self._answered(poll)

    def consume(self, topic: str, group: str) -> str:
        """Receive one message in a consumer group and commit its offset; return it."""
        consumer = Consumer(
            {
                **self._configuration,
                "group.id": group,
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
            }
        )

        def poll() -> str:
            message = consumer.poll(PAUSE)
            if message is None:
                return ""
            if error := message.error():
                raise RejectedError(_words(error))
            consumer.commit(message=message, asynchronous=False)
            return (message.value() or b"").decode()

        try:
            consumer.subscribe([topic])
            return self._answered(poll)
        finally:
            consumer.close()

    def _on_error(self, error: KafkaError) -> None:
        self._errors.append(error)

    def _answered(self, poll: Callable[[], str]) -> str:
        """Poll until there is an answer; raises `RejectedError`, or `TimeoutError` without one."""
        self._errors.clear()
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            try:
                if found := poll():
                    return found
            except KafkaException as failed:
                if failed.args[0].code() not in UNANSWERED:
                    raise RejectedError(_words(failed.args[0])) from None
            for error in self._errors:
                if error.code() in LOGIN_REJECTED:
                    raise RejectedError(_words(error))
        raise TimeoutError(", ".join(map(_words, self._errors)))


def _words(error: KafkaError) -> str:
    """Return the server's sentence where librdkafka quotes one, else the name of the error."""
    _, _, quoted = error.str().partition("SASL authentication error: ")
    reason = quoted.partition(" (")[0].rpartition(" due to ")[2]
    return reason or str(error.name())
