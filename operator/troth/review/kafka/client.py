"""What the clients of one topic share: configuration, errors, and a thread for each client."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, ParamSpec, TypeVar

from confluent_kafka import KafkaError, KafkaException

from troth.documents.client_name import client_name
from troth.edge.events.adapters.kafka_files import Source, combined
from troth.edge.identity.snapshot import IdentityError
from troth.review.brokers import BrokerUnavailableError, DeniedError, TooLargeError

P = ParamSpec("P")
T = TypeVar("T")

ANSWER_SECONDS: Final = 10.0
"""Time for the brokers to answer."""

_TOO_LARGE = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_MSG_SIZE})
_DENIED = frozenset(
    {KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED}
)
"""Error codes of a message that the broker has certainly not stored."""
_LOST = frozenset(
    {
        KafkaError._ALL_BROKERS_DOWN,  # noqa: SLF001 - librdkafka's own codes begin with _
        KafkaError._AUTHENTICATION,  # noqa: SLF001
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError._SSL,  # noqa: SLF001
        KafkaError._FATAL,  # noqa: SLF001
    }
)
"""Errors after which a client is created again, with the current credential."""


class Lost:
    """Error of librdkafka that concerns a whole client; an instance is its `error_cb`."""

    def __init__(self) -> None:
        self._error: KafkaError | None = None

    def __call__(self, error: KafkaError) -> None:
        """Keep an error that ends the client. That no broker is left is only its effect."""
        effect = error.code() == KafkaError._ALL_BROKERS_DOWN  # noqa: SLF001 - as above
        if error.code() in _LOST and not (effect and self._error):
            self._error = error

    def check(self, topic: str) -> None:
        """Raise `BrokerUnavailableError` if the client has such an error."""
        if self._error is not None:
            raise unavailable(topic, self._error)


class Thread:
    """Thread of one client: its calls run one after the other."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="troth-kafka")

    async def run(self, call: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
        """Run a call in the thread. If this is cancelled, the call still ends."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, lambda: call(*args, **options))

    def end(self, call: Callable[[], object]) -> None:
        """Run a last call, and end the thread."""
        self._pool.submit(call)
        self._pool.shutdown(wait=False)


def configuration(source: Source, policy: str, own: dict[str, Any], lost: Lost) -> dict[str, Any]:
    """Return the configuration of a client; raises `BrokerUnavailableError` without files."""
    defaults = {"error_cb": lost, "log_level": 0, "reconnect.backoff.max.ms": 1000}
    try:
        return combined(source, {"client.id": client_name([policy]), **own}, defaults)
    except (OSError, ValueError, IdentityError) as error:
        raise BrokerUnavailableError(
            f"the broker's credential cannot be read ({type(error).__name__})"
        ) from None


def unavailable(topic: str, error: KafkaError) -> BrokerUnavailableError:
    """Return the error of a topic; librdkafka's text may quote the request."""
    return BrokerUnavailableError(f"Kafka topic {topic}: {error.name()}")


def failure(topic: str, error: KafkaError) -> BrokerUnavailableError | TooLargeError:
    """Return the failure of a message."""
    if error.code() in _TOO_LARGE:
        return TooLargeError(f"Kafka topic {topic}: {error.name()}")
    if error.code() in _DENIED:
        return DeniedError(f"Kafka topic {topic}: {error.name()}")
    return unavailable(topic, error)


def of(error: KafkaException) -> KafkaError:
    """Return the error in an exception."""
    found = error.args[0]
    assert isinstance(found, KafkaError)
    return found
