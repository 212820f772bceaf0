"""Kafka: ACLs of its StandardAuthorizer, and SCRAM credentials.

A principal's two credentials are of its two SCRAM mechanisms. None is ever deleted: Kafka 4.1 to
4.4 may lose every credential of a mechanism at a restart after one was (a removal that is replayed
first drops the whole mechanism). What is revoked has a random password that nobody knows.

Needs the extra `kafka`.
"""

import asyncio
import secrets
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from threading import Event
from typing import Any, TypeVar

from confluent_kafka import KafkaError
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AdminClient,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from troth.brokers.kafka import credentials as kafka_credentials
from troth.brokers.kafka.acls import EVERYTHING, binding_of, filter_of, passable, rule_of
from troth.brokers.kafka.client import Access, Client, Scram
from troth.brokers.protocol import Batch, BrokerError, Credential, Failure, Login, Observed, Slot
from troth.trust.grants import Rule

T = TypeVar("T")

MECHANISMS = {
    slot: ScramMechanism[name.replace("-", "_")]
    for slot, name in kafka_credentials.MECHANISMS.items()
}
SLOTS = {mechanism: slot for slot, mechanism in MECHANISMS.items()}
ITERATIONS = 4096
"""The fewest that Kafka takes; more would protect a password that can be guessed."""
REVOKED = ITERATIONS + 1
"""Of a credential whose password nobody knows: by this number it is told from the good ones."""
CREDENTIALS_AT_ONCE = 250
"""To a call: librdkafka hashes them first, 4 to 7 ms each, and its timeout runs meanwhile."""
TIMEOUT = 15.0
"""Seconds to a call."""
PAUSES = (0.0, 0.1, 0.4)
"""Seconds before each time that a password is tried."""
FAREWELL = 5.0
"""Seconds that closing may take."""


@dataclass(frozen=True, slots=True)
class _Change:
    """One kind of change to ACLs; `form` raises `ValueError` for a rule that has no such form."""

    doing: str
    form: Callable[[Rule], AclBinding]
    call: Callable[[AdminClient, list[Any], float], Mapping[Any, Future[Any]]]
    at_once: int


# The controller takes 10,000 records at once; and to delete it holds each filter to each ACL.
_CREATE = _Change(
    "create ACLs",
    binding_of,
    lambda admin, acls, timeout: admin.create_acls(acls, request_timeout=timeout),
    at_once=10_000,
)
_DELETE = _Change(
    "delete ACLs",
    filter_of,
    lambda admin, acls, timeout: admin.delete_acls(acls, request_timeout=timeout),
    at_once=2_000,
)


class Kafka:
    """A Kafka cluster as a `Broker`; `timeout` is for each call to it, in seconds.

    `clients` are the servers that clients are given, `host:port`, where they are not those that the
    cluster is administered at.

    It has one connection to each of the cluster's servers and one thread: calls follow each other,
    and a cluster that hangs holds up no other.
    """

    def __init__(
        self, access: Access, *, clients: tuple[str, ...] = (), timeout: float = TIMEOUT
    ) -> None:
        self._access = access
        self._clients = clients or access.servers
        self._timeout = timeout
        self._closing = Event()
        self._client = Client(access, timeout, self._closing)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="kafka")

    async def observe(self) -> Observed:
        """Return all credentials that are not revoked and all ACLs, by one call each."""
        return await self._run(self._observe)

    async def apply(self, batch: Batch) -> tuple[Failure, ...]:
        """Carry out changes as `Broker` has it, and return those that failed or were kept back.

        A revocation is an upsert also where no credential is listed, since a server may not know
        yet what the controller wrote. What is done takes effect when a server has read it from the
        metadata log: in milliseconds, if it keeps up.
        """
        return await self._run(lambda: self._apply(batch))

    async def disconnect(self, principals: Collection[str]) -> None:
        """Do nothing: Kafka has no call that ends a connection.

        One that is open may do what the ACLs allow, and of an ACL that is gone the next request is
        denied. With a revoked credential it lives on for as long as the servers'
        `connections.max.reauth.ms` says, which sets no end unless it is configured.
        """

    async def admits(self, login: Login) -> bool:
        """Try a password where the clients are; raises `BrokerError`.

        It is tried again before the answer is yes, since a server may not know yet what the
        controller wrote.
        """
        mechanism = kafka_credentials.MECHANISMS[login.slot]
        by_password = Scram(login.principal, login.secret, mechanism)
        access = replace(self._access, servers=self._clients, login=by_password)
        for pause in PAUSES:
            await asyncio.sleep(pause)
            if not await self._run(Client(access, self._timeout, self._closing).is_let_in):
                return False
        return True

    async def close(self) -> None:
        """Let go of the cluster. A call that is under way is given up, and fails."""
        if self._closing.is_set():
            return
        self._closing.set()
        ended = asyncio.get_running_loop().run_in_executor(self._thread, self._client.close)
        self._thread.shutdown(wait=False)
        # No longer than this: librdkafka's threads may be looking for a name that nobody knows.
        await asyncio.wait({ended}, timeout=FAREWELL)

    async def _run(self, work: Callable[[], T]) -> T:
        if self._closing.is_set():
            raise BrokerError(f"the connection to Kafka at {self._client.where} was closed")
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _observe(self) -> Observed:
        # Without this permission librdkafka says that there is nothing, or crashes.
        self._client.require(AclOperation.DESCRIBE, "describe its ACLs and credentials")
        users = self._client.ask_one("describe its SCRAM credentials", _describe_users)
        acls = self._client.ask_one(
            "describe its ACLs",
            lambda admin, timeout: admin.describe_acls(EVERYTHING, request_timeout=timeout),
        )
        return Observed(
            frozenset(
                (user, SLOTS[held.mechanism])
                for user, description in users.items()
                for held in description.scram_credential_infos
                if held.mechanism in SLOTS and held.iterations != REVOKED
            ),
            frozenset(rule_of(acl) for acl in acls),
        )

    def _apply(self, batch: Batch) -> tuple[Failure, ...]:
        failures = self._upsert(batch.credentials, ITERATIONS)
        lacking = {failure.change[0] for failure in failures if isinstance(failure.change, tuple)}
        kept_back = [rule for rule in batch.additions if rule.principal in lacking]
        failures += [
            Failure(rule, "not applied, because its credential failed") for rule in kept_back
        ]
        ready = [rule for rule in batch.additions if rule.principal not in lacking]
        failures += self._write(_CREATE, ready)
        failures += self._write(_DELETE, batch.removals)
        revoked = [
            Credential(principal, slot, secrets.token_urlsafe(32))
            for principal, slot in batch.revocations
        ]
        failures += self._upsert(revoked, REVOKED)
        return tuple(failures)

    def _upsert(self, credentials: Iterable[Credential], iterations: int) -> list[Failure]:
        failures = []
        # Kafka refuses a user that is in one request twice: to each slot its own, and of several
        # passwords for one the last.
        wanted: dict[Slot, dict[str, UserScramCredentialUpsertion]] = {slot: {} for slot in Slot}
        for each in credentials:
            if passable(each.principal) and passable(each.material):
                info = ScramCredentialInfo(MECHANISMS[each.slot], iterations)
                password = each.material.encode()
                upsertion = UserScramCredentialUpsertion(each.principal, info, password)
                wanted[each.slot][each.principal] = upsertion
            else:
                key = each.principal, each.slot
                failures.append(Failure(key, "invalid principal name or password"))
        for slot, of_slot in wanted.items():
            for piece in _pieces(of_slot, CREDENTIALS_AT_ONCE):
                answers = self._client.ask("change SCRAM credentials", _alter, piece.values())
                failures += _failures({(name, slot): answers[name] for name in piece})
        return failures

    def _write(self, change: _Change, rules: Iterable[Rule]) -> list[Failure]:
        failures = []
        forms: dict[AclBinding, Rule] = {}
        for rule in rules:
            try:
                forms[change.form(rule)] = rule
            except ValueError as error:
                failures.append(Failure(rule, str(error)))
        for piece in _pieces(forms, change.at_once):
            answers = self._client.ask(change.doing, change.call, piece)
            failures += _failures({piece[form]: answer for form, answer in answers.items()})
        return failures


def _describe_users(admin: AdminClient, timeout: float) -> Future[Any]:
    answer = admin.describe_user_scram_credentials(request_timeout=timeout)
    assert isinstance(answer, Future)  # by name there would be one for each
    return answer


def _alter(admin: AdminClient, alterations: list[Any], timeout: float) -> Mapping[str, Future[Any]]:
    return admin.alter_user_scram_credentials(alterations, request_timeout=timeout)


def _failures(answers: Mapping[Any, object]) -> list[Failure]:
    return [
        Failure(change, answer.str())
        for change, answer in answers.items()
        if isinstance(answer, KafkaError)
    ]


def _pieces(whole: Mapping[Any, T], size: int) -> Iterator[dict[Any, T]]:
    """Yield a mapping in pieces of at most that many items."""
    items = list(whole.items())
    for start in range(0, len(items), size):
        yield dict(items[start : start + size])
