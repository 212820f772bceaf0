"""Client of Kafka's admin API, which turns librdkafka's errors into errors without secrets.

Pitfalls of librdkafka 2.16, each observed with a real server:
- it reports a rejected credential only to `error_cb`, and the request times out;
- if the broker denies DescribeAcls (CLUSTER_AUTHORIZATION_FAILED), it returns an empty list; if the
  broker denies DescribeUserScramCredentials, it frees invalid memory and crashes the process; so
  the client must check its permissions first;
- a denial contains the request as the controller printed it, so messages never quote it;
- it reads strings as C does, up to the first NUL;
- if the answer to DescribeGroups arrives after its own timeout, a failed assertion ends the process
  (librdkafka's issue 4605), so the client gives up and closes before that.
"""

import re
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass
from threading import Event
from typing import Any, TypeVar

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AclOperation, AdminClient

from troth.brokers.errors import AdminRefusedError, BrokerError, NotTakenError, UnreachableError
from troth.brokers.kafka.admin import Certificate, Scram
from troth.brokers.protocol import Permit

K = TypeVar("K")
Item = TypeVar("Item")

LISTENING = 0.02
"""Seconds between two polls for calls of `error_cb`."""
LIBRARY_GRACE = 60.0
"""Seconds by which the library's timeout of a request is longer than the client's own."""

REFUSED = frozenset(
    {
        KafkaError._AUTHENTICATION,  # noqa: SLF001 - librdkafka's own codes begin with _
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    }
)
UNANSWERED = frozenset(
    {
        KafkaError._TIMED_OUT,  # noqa: SLF001
        KafkaError._TIMED_OUT_QUEUE,  # noqa: SLF001
        KafkaError._TRANSPORT,  # noqa: SLF001
        KafkaError._RESOLVE,  # noqa: SLF001
        KafkaError._ALL_BROKERS_DOWN,  # noqa: SLF001
        KafkaError._DESTROY_BROKER,  # noqa: SLF001 - a request to a broker that just left
        KafkaError.REQUEST_TIMED_OUT,
    }
)
CERTIFICATE_REFUSED = re.compile(r"alert (bad certificate|certificate|unknown ca|access denied)")
"""OpenSSL's messages for TLS alerts of the broker, which in TLS 1.3 come after the handshake."""
PROPERTY = re.compile(r"\b(ssl|sasl)\.[a-z.]+[a-z]")


@dataclass(frozen=True, slots=True)
class Access:
    """Servers of a cluster, and the operator's credential there. Connections always use TLS.

    `servers` are `host:port`. `authorities` are the PEM roots of the servers' certificates, empty
    for the system's.
    """

    servers: tuple[str, ...]
    login: Certificate | Scram
    authorities: str = ""

    def configuration(self) -> dict[str, str]:
        """Return librdkafka's properties, secrets included."""
        properties = {"bootstrap.servers": ",".join(self.servers)}
        if self.authorities:
            properties["ssl.ca.pem"] = self.authorities
        match self.login:
            case Certificate(certificate, key):
                properties["security.protocol"] = "ssl"
                properties["ssl.certificate.pem"] = certificate
                properties["ssl.key.pem"] = key
            case Scram(username, password, mechanism):
                properties["security.protocol"] = "sasl_ssl"
                properties["sasl.mechanism"] = mechanism
                properties["sasl.username"] = username
                properties["sasl.password"] = password
        return properties


class Client:
    """One connection, opened at the first request and kept until an error.

    An error closes it, because librdkafka would retry a rejected credential every second. Only one
    thread may use it at a time. Every call blocks, and is aborted soon after `closing` is set.

    librdkafka has threads of its own, which end with the last reference to its client. So the
    errors raised here have no traceback that holds a reference.
    """

    def __init__(self, access: Access, timeout: float, closing: Event | None = None) -> None:
        self._access = access
        self._timeout = timeout
        self._closing = closing or Event()
        self._admin: AdminClient | None = None
        self._verdict: tuple[type[BrokerError], str] | None = None
        self.where = ", ".join(access.servers)

    def ask(
        self,
        doing: str,
        call: Callable[[AdminClient, list[Item], float], Mapping[K, Future[Any]]],
        items: Iterable[Item],
        permit: Permit = lambda: None,
    ) -> dict[K, Any]:
        """Call the API for some items, and return each item's result or its `KafkaError`.

        Raises `AdminRefusedError`, `UnreachableError` or `BrokerError` for errors that concern no
        single item. `doing` completes the messages, such as "create ACLs". A call that changes the
        cluster has a `permit`, whose exception passes; a request that waits for its answer is
        dropped then, because librdkafka may not have sent it yet.
        """
        try:
            return self._asked(doing, call, list(items), permit)
        except KafkaException as error:
            unexpected = self._unexpected(doing, error.args[0])
        except Exception as error:
            self.close()
            error.__traceback__ = None  # its frames hold the client, which would stay connected
            raise
        self.close()
        raise unexpected

    def ask_one(self, doing: str, call: Callable[[AdminClient, float], Future[Any]]) -> Any:  # noqa: ANN401 - the library's answers have no types
        """Call the API for a single result and return it; raises `BrokerError`."""
        (answer,) = self.ask(
            doing, lambda admin, _, timeout: {None: call(admin, timeout)}, ()
        ).values()
        if isinstance(answer, KafkaError):
            self.close()
            raise self._unexpected(doing, answer)
        return answer

    def require(self, operation: AclOperation, doing: str) -> Any:  # noqa: ANN401 - as above
        """Return the cluster's description, with what the operator may do.

        Raises `AdminRefusedError` if the operator may not perform an operation on the cluster.
        """
        cluster = self._cluster(authorized=True)
        if operation not in (cluster.authorized_operations or ()):
            self.close()
            raise self._not_permitted(doing)
        return cluster

    def is_let_in(self) -> bool:
        """Return whether the cluster accepts the credential, and close the connection.

        Raises `BrokerError` if the cluster gives no clear answer.
        """
        try:
            self._cluster(authorized=False)
        except NotTakenError:
            return False
        except AdminRefusedError:  # a denied request is from an accepted client
            return True
        finally:
            self.close()
        return True

    def close(self) -> None:
        """Close the connection."""
        self._admin = None

    def _cluster(self, *, authorized: bool) -> Any:  # noqa: ANN401 - as above
        return self.ask_one(
            "describe the cluster",
            lambda admin, timeout: admin.describe_cluster(
                include_authorized_operations=authorized, request_timeout=timeout
            ),
        )

    def _asked(
        self,
        doing: str,
        call: Callable[[AdminClient, list[Item], float], Mapping[K, Future[Any]]],
        items: list[Item],
        permit: Permit,
    ) -> dict[K, Any]:
        if self._closing.is_set():
            raise BrokerError(
                f"Kafka at {self.where}: the connection was closed before the request to {doing}"
            )
        # Not `or`: a client with nothing in its queue is false.
        admin = self._connect() if self._admin is None else self._admin
        admin.poll(0)  # discards errors from before this request
        self._verdict = None
        permit()
        futures = call(admin, items, self._timeout + LIBRARY_GRACE)
        self._await(admin, doing, futures.values(), permit)
        answers = {item: _came_of(future) for item, future in futures.items()}
        for answer in answers.values():
            if isinstance(answer, KafkaError):
                self._raise_unless_an_items(doing, answer)
        return answers

    def _connect(self) -> AdminClient:
        properties: Mapping[str, Any] = {
            **self._access.configuration(),
            "client.id": "troth",
            "error_cb": self._hear,
            # Else librdkafka also writes to standard error what it reports to error_cb.
            "log_level": 0,
            "reconnect.backoff.max.ms": 1000,
        }
        try:
            self._admin = AdminClient(dict(properties))
        except KafkaException as error:
            # The message may quote a value that librdkafka could not parse.
            named = PROPERTY.search(str(error.args[0].str()))
            what = f"the value of {named[0]}" if named else "the connection configuration"
            raise BrokerError(f"Kafka at {self.where}: {what} is invalid") from None
        return self._admin

    def _await(
        self, admin: AdminClient, doing: str, futures: Collection[Future[Any]], permit: Permit
    ) -> None:
        """Wait until all futures are done; those of one request are done together."""
        deadline = time.monotonic() + self._timeout
        while wait(futures, timeout=LISTENING).not_done:
            admin.poll(0)
            if self._verdict:
                kind, sentence = self._verdict
                raise kind(sentence)
            if self._closing.is_set():
                raise BrokerError(
                    f"Kafka at {self.where}: the connection was closed before the answer to the "
                    f"request to {doing}, so it is unknown whether the request took effect"
                )
            permit()
            if time.monotonic() > deadline:
                raise self._unanswered(doing)

    def _hear(self, error: KafkaError) -> None:
        """Record an error that librdkafka reports outside of requests."""
        said, here = error.str(), f"Kafka at {self.where}"
        certificate = CERTIFICATE_REFUSED.search(said)
        if certificate and isinstance(self._access.login, Scram):
            # The broker has not checked the password yet.
            sentence = f"{here} requires a client certificate; use its listener for passwords"
            self._verdict = BrokerError, sentence
        elif certificate or error.code() in REFUSED:
            self._verdict = NotTakenError, f"{here} rejects the operator's credential"
        elif "certificate verify failed" in said:
            whose = "is not from a trusted authority, or is for another name"
            self._verdict = BrokerError, f"the certificate of {here} {whose}"

    def _raise_unless_an_items(self, doing: str, error: KafkaError) -> None:
        code = error.code()
        if code in REFUSED:
            raise self._not_permitted(doing)
        if code in UNANSWERED:
            raise self._unanswered(doing)
        if code == KafkaError.SECURITY_DISABLED:
            raise BrokerError(
                f"Kafka at {self.where} has no authorizer, so every client may do everything; "
                "configure one"
            )
        if code < 0:
            raise self._unexpected(doing, error)

    def _not_permitted(self, doing: str) -> AdminRefusedError:
        return AdminRefusedError(f"Kafka at {self.where} does not allow the operator to {doing}")

    def _unanswered(self, doing: str) -> UnreachableError:
        return UnreachableError(
            f"Kafka at {self.where} did not answer within {self._timeout:g} s when asked to {doing}"
        )

    def _unexpected(self, doing: str, error: KafkaError) -> BrokerError:
        return BrokerError(f"Kafka at {self.where}, asked to {doing}, answered {error.name()}")


def _came_of(future: Future[Any]) -> Any:  # noqa: ANN401 - as above
    """Return the result of one item, or its `KafkaError`."""
    failed = future.exception()
    if isinstance(failed, KafkaException):
        return failed.args[0]
    return future.result()
