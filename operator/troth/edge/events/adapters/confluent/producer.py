"""Producers for confluent-kafka: one for events, and one for a consumer's dead letters."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import monotonic, time
from types import TracebackType
from typing import Any, Final, Self

from confluent_kafka import KafkaError, KafkaException, Producer

from troth.documents.client_name import client_name
from troth.edge.events.adapters.kafka_files import Source, combined
from troth.edge.events.bindings import kafka
from troth.edge.events.consumption.flow import LOG_EVERY, TooLargeError, UnavailableError
from troth.edge.events.message import Sealed
from troth.edge.events.opening import MOST_BYTES
from troth.edge.events.sealing import Sealer
from troth.edge.identity.files import Identity
from troth.edge.identity.snapshot import IdentityError

DELIVERY_SECONDS = 10.0
"""Time in seconds for the broker to acknowledge a dead letter."""

CREDENTIAL_ERRORS: Final = frozenset(
    {
        KafkaError._AUTHENTICATION,  # noqa: SLF001 - librdkafka's own codes begin with _
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError._SSL,  # noqa: SLF001
    }
)
"""Errors that a newer credential may end."""

_FULL_QUEUE_SECONDS = 0.1
_FLUSH_SECONDS = 0.5
_ANY = -1
"""Partition of librdkafka that lets its partitioner choose."""
_TOO_LARGE = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_MSG_SIZE})

_LOG = logging.getLogger("troth.edge.events")

OnDelivery = Callable[[KafkaError | None, Any], None]


class EventProducer:
    """Seals the events of one policy, and produces them. It may be shared by threads."""

    def __init__(
        self,
        identity: Identity,
        policy: str,
        configuration: Source | Producer,
        *,
        most_bytes: int = MOST_BYTES,
        clock: Callable[[], float] = time,
    ) -> None:
        """Create a producer, which connects in the background.

        `policy` is `<namespace>/<name>` of a TopicPolicy. With a `configuration`, the producer is
        idempotent, so all replicas acknowledge an event, and its client ID names library and policy
        for Troth. A `Producer` of your own is used as it is: set its `client.id` with
        `troth.documents.client_name`, or Troth reports an unguarded client.

        A function as `configuration` is called again if the broker rejects the password.

        `most_bytes` limits an event's data, and `clock` returns seconds since the epoch. Raises
        `ValueError` if the configuration contradicts this.
        """
        self.sealer = Sealer(identity, policy, most_bytes=most_bytes, clock=clock)
        self._source = configuration
        self._rejected = False
        self._logged: dict[str, float] = {}
        defaults = {"error_cb": self._report, "on_delivery": _log_failure}
        self._producer = (
            configuration
            if isinstance(configuration, Producer)
            else Producer(_configuration(configuration, policy, defaults))
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Wait until all events are acknowledged or have failed."""
        self.flush()

    def produce(
        self,
        data: bytes,
        *,
        type: str,  # noqa: A002 - the attribute's name in CloudEvents
        key: str | bytes | None = None,
        partition: int | None = None,
        on_delivery: OnDelivery | None = None,
        **options: Any,  # noqa: ANN401 - those of `Sealer.seal`
    ) -> Sealed:
        """Seal an event and produce it; return it as it was sealed.

        The other options are those of `Sealer.seal`, which also says what this raises.
        `on_delivery` is called with an error, or None, and the message, from `poll` and `flush`.
        Without it, an event that is not published is only logged, unless the configuration has its
        own `on_delivery`. The key is not part of the event: no seal covers it. While librdkafka's
        queue is full, this waits.
        """
        sealed = self.sealer.seal(data, type=type, **options)
        self._enqueue(sealed, key, partition, on_delivery)
        self.poll()
        return sealed

    def poll(self, timeout: float = 0.0) -> int:
        """Call the callbacks of acknowledged events; return their number."""
        served = int(self._producer.poll(timeout))
        self._renew()
        return served

    def flush(self, timeout: float = -1.0) -> int:
        """Wait until all events are acknowledged or have failed; return how many are left."""
        end = float("inf") if timeout < 0 else monotonic() + timeout
        while True:
            remaining = max(end - monotonic(), 0.0)
            left = int(self._producer.flush(min(remaining, _FLUSH_SECONDS)))
            self._renew()
            if left == 0 or remaining <= _FLUSH_SECONDS:
                return left

    def _enqueue(
        self,
        sealed: Sealed,
        key: str | bytes | None,
        partition: int | None,
        on_delivery: OnDelivery | None,
    ) -> None:
        while True:
            try:
                self._producer.produce(
                    sealed.topic,
                    sealed.data,
                    key=key,
                    headers=_headers(sealed),
                    on_delivery=on_delivery,
                    partition=_ANY if partition is None else partition,
                )
            except BufferError:
                self.poll(_FULL_QUEUE_SECONDS)
            else:
                return

    def _report(self, error: KafkaError) -> None:
        """Log an error of the library, and note that the broker rejects the credential."""
        name, now = str(error.name()), monotonic()
        if now - self._logged.get(name, float("-inf")) >= LOG_EVERY:
            self._logged[name] = now
            _LOG.warning("Kafka reports %s: policy %s", name, self.sealer.policy)
        self._rejected = self._rejected or error.code() in CREDENTIAL_ERRORS

    def _renew(self) -> None:
        """Let a rejected client connect with the current password. No callback may call this."""
        source = self._source
        if not self._rejected or isinstance(source, Producer) or not callable(source):
            return
        self._rejected = False
        try:
            given = source()
        except (OSError, IdentityError) as error:
            name = type(error).__name__
            _LOG.warning("Credential is not read (%s): policy %s", name, self.sealer.policy)
            return
        if "sasl.username" in given and "sasl.password" in given:
            self._producer.set_sasl_credentials(given["sasl.username"], given["sasl.password"])


@dataclass
class Delivery:
    """Dead letter on its way. `failure` is None if the broker acknowledged it."""

    done: bool = False
    failure: UnavailableError | TooLargeError | None = None


class DeadLetterProducer:
    """Produces a consumer's dead letters. Only one thread may use it.

    After a failure the next dead letter gets a new client: librdkafka caches a denial for minutes,
    and an idempotent producer that was denied its ID fails for good.
    """

    def __init__(self, configuration: Source, policy: str) -> None:
        self._source = configuration
        self._policy = policy
        self._producer: Producer | None = None
        self._pending = 0
        self._failed = False

    def send(self, sealed: Sealed, key: bytes | None) -> Delivery:
        """Send a dead letter; raises `UnavailableError` or `TooLargeError`."""
        producer = self._current()
        delivery = Delivery()

        def delivered(error: KafkaError | None, _: object) -> None:
            self._pending -= 1
            self._failed = self._failed or error is not None
            delivery.done, delivery.failure = True, None if error is None else _failure(error)

        try:
            producer.produce(
                sealed.topic,
                sealed.data,
                key=key,
                headers=_headers(sealed),
                on_delivery=delivered,
            )
        except (KafkaException, BufferError) as error:
            self._failed = True
            reason = error.args[0]
            if isinstance(reason, KafkaError):
                raise _failure(reason) from None
            raise UnavailableError("the queue of dead letters is full") from None
        self._pending += 1
        return delivery

    def _current(self) -> Producer:
        if self._producer is None or (self._failed and self._pending == 0):
            limits = {"linger.ms": 0, "message.timeout.ms": int(DELIVERY_SECONDS * 1000)}
            try:
                # The credential may just be written, or not be mounted yet.
                self._producer = Producer({**_configuration(self._source, self._policy), **limits})
            except (OSError, IdentityError, KafkaException) as error:
                raise UnavailableError(type(error).__name__) from None
            self._failed = False
        return self._producer

    def poll(self, timeout: float) -> None:
        """Let deliveries end."""
        if self._producer is not None:
            self._producer.poll(timeout)

    def close(self) -> None:
        """Wait for deliveries on their way."""
        if self._producer is not None:
            self._producer.flush(DELIVERY_SECONDS)


def _configuration(
    source: Source, policy: str, defaults: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    own = {"client.id": client_name([policy]), "enable.idempotence": True}
    return combined(source, own, defaults or {})


def _log_failure(error: KafkaError | None, record: Any) -> None:  # noqa: ANN401 - the library's
    if error is not None:
        _LOG.error("Event is not published: topic %s: %s", record.topic(), error.name())


def _headers(sealed: Sealed) -> list[tuple[str, str | bytes | None]]:
    return [*kafka.headers(sealed)]


def _failure(error: KafkaError) -> UnavailableError | TooLargeError:
    if error.code() in _TOO_LARGE:
        return TooLargeError(str(error.name()))
    return UnavailableError(str(error.name()))
