"""Driver of Kafka: ACLs of the StandardAuthorizer, and SCRAM credentials.

The two credentials of a principal are in the two SCRAM mechanisms. The driver never deletes one:
after a deletion, a restart of Kafka 4.1 to 4.4 may lose every credential of the mechanism, because
a removal that is replayed first drops the whole mechanism. To revoke a credential, the driver sets
a random password and discards it.

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
    ConfigResource,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from troth.brokers.admin_secret import AdminSecret
from troth.brokers.clients import Clients
from troth.brokers.errors import BrokerError
from troth.brokers.kafka import credentials as kafka_credentials
from troth.brokers.kafka.acls import EVERYTHING, binding_of, filter_of, passable, rule_of
from troth.brokers.kafka.admin import Scram, login_of, servers_of
from troth.brokers.kafka.client import Access, Client
from troth.brokers.kafka.exposure import Configuration, configuration_of, exposure_of
from troth.brokers.kafka.groups import AT_ONCE as GROUPS_AT_ONCE
from troth.brokers.kafka.groups import MOST_GROUPS, clients_in, describe_groups
from troth.brokers.kafka.rules import SUPER_USERS
from troth.brokers.protocol import Batch, Credential, Failure, Login, Permit
from troth.resources.messaging.message_broker import MessageBroker
from troth.resources.messaging.observed_broker import MOST_CLIENTS, Exposure
from troth.trust.grants import Observed, Rule, Slot

T = TypeVar("T")

MECHANISMS = {
    slot: ScramMechanism[name.replace("-", "_")]
    for slot, name in kafka_credentials.MECHANISMS.items()
}
SLOTS = {mechanism: slot for slot, mechanism in MECHANISMS.items()}
ITERATIONS = 4096
"""Kafka's minimum of SCRAM iterations; more would only help passwords that can be guessed."""
REVOKED = ITERATIONS + 1
"""Iterations of a revoked credential, which distinguish it from valid ones."""
CREDENTIALS_AT_ONCE = 250
"""Maximum for each call: librdkafka hashes them first, 4 to 7 ms each, within its timeout."""
TIMEOUT = 15.0
"""Timeout of a call, in seconds."""
PAUSES = (0.0, 0.1, 0.4)
"""Seconds to wait before each attempt with a password."""
FAREWELL = 5.0
"""Maximum time for closing, in seconds."""


@dataclass(frozen=True, slots=True)
class _Change:
    """Kind of change to ACLs; `form` raises `ValueError` for a rule that it cannot convert."""

    doing: str
    form: Callable[[Rule], AclBinding]
    call: Callable[[AdminClient, list[Any], float], Mapping[Any, Future[Any]]]
    at_once: int


# The controller accepts 10,000 records at once; a deletion compares each filter to each ACL.
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


def connect(broker: MessageBroker, admin: AdminSecret, roots: str, permit: Permit) -> "Kafka":
    """Return the driver of a broker; raises `AdminRefusedError`."""
    clients = broker.spec.servers
    servers = servers_of(admin) or clients
    return Kafka(Access(servers, login_of(admin), roots), clients=clients, permit=permit)


class Kafka:
    """`Driver` of a Kafka cluster; `timeout` is for each call, in seconds.

    `clients` are the servers for clients, `host:port`. They default to the servers for
    administration.

    It has one connection to each server of the cluster and one thread, so calls run one after the
    other, and a cluster that hangs delays no other cluster.
    """

    def __init__(
        self,
        access: Access,
        *,
        clients: tuple[str, ...] = (),
        timeout: float = TIMEOUT,
        permit: Permit = lambda: None,
    ) -> None:
        self._access = access
        self._clients = clients or access.servers
        self._timeout = timeout
        self._closing = Event()
        self._observed = False
        self._configurations: list[Configuration | None] | None = None
        self._client = Client(access, timeout, self._closing)
        self._permit = permit
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="kafka")

    async def observe(self) -> Observed:
        """Return all credentials that are not revoked and all ACLs, with one call each."""
        return await self._run(self._observe)

    async def clients(self, groups: Collection[str]) -> Clients:
        """Return the members of groups; Kafka shows no other clients. Raises `BrokerError`."""
        return await self._run(lambda: self._members(groups))

    async def exposure(self, groups: Collection[str]) -> Exposure:
        """Return the listeners, whether there are super users, and the members of groups."""
        return await self._run(lambda: self._exposure(groups))

    async def apply(self, batch: Batch) -> tuple[Failure, ...]:
        """Carry out changes as in `Driver`, and return those that failed or were held back.

        A revocation is an upsert even if no credential is listed, because a server may not have
        read it yet. A change takes effect when a server has read it from the metadata log, normally
        within milliseconds.
        """
        return await self._run(lambda: self._apply(batch))

    async def disconnect(self, principals: Collection[str]) -> None:
        """Do nothing, because Kafka has no call that closes a connection.

        An open connection may do what the ACLs allow: after the removal of an ACL, its next request
        is denied. With a revoked credential it stays open for the servers'
        `connections.max.reauth.ms`, which is unlimited by default.
        """

    async def admits(self, login: Login) -> bool:
        """Return whether the servers for clients accept a password; raises `BrokerError`.

        Every one of several attempts must succeed, because a server may not have read the
        controller's last change yet.
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
        """Close the connection. A running call is aborted and fails."""
        if self._closing.is_set():
            return
        self._closing.set()
        ended = asyncio.get_running_loop().run_in_executor(self._thread, self._client.close)
        self._thread.shutdown(wait=False)
        # Limited, because librdkafka's threads may be resolving a name that does not exist.
        await asyncio.wait({ended}, timeout=FAREWELL)

    async def _run(self, work: Callable[[], T]) -> T:
        if self._closing.is_set():
            raise BrokerError(f"the connection to Kafka at {self._client.where} was closed")
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _observe(self) -> Observed:
        # Without this permission librdkafka returns an empty list or crashes.
        cluster = self._client.require(AclOperation.DESCRIBE, "describe its ACLs and credentials")
        users = self._client.ask_one("describe its SCRAM credentials", _describe_users)
        acls = self._client.ask_one(
            "describe its ACLs",
            lambda admin, timeout: admin.describe_acls(EVERYTHING, request_timeout=timeout),
        )
        super_users = {SUPER_USERS} if self._has_super_users(cluster) else set()
        self._observed = True
        return Observed(
            frozenset(
                (user, SLOTS[held.mechanism])
                for user, description in users.items()
                for held in description.scram_credential_infos
                if held.mechanism in SLOTS and held.iterations != REVOKED
            ),
            frozenset(rule_of(acl) for acl in acls),
            frozenset(super_users),
        )

    def _has_super_users(self, cluster: Any) -> bool:  # noqa: ANN401 - the library's answers have no types
        """Return whether a server configures super users, or may do so.

        Kafka discloses that the property is set, but not its value. Without the permission to
        describe configurations it discloses nothing.
        """
        self._configurations = self._describe_servers(cluster)
        if self._configurations is None:
            return True
        return any(
            found is None or SUPER_USERS.principal in found for found in self._configurations
        )

    def _describe_servers(self, cluster: Any) -> list[Configuration | None] | None:  # noqa: ANN401 - as above
        """Return the configuration of each server, None for those that do not show it."""
        if AclOperation.DESCRIBE_CONFIGS not in (cluster.authorized_operations or ()):
            return None
        servers = [ConfigResource(ResourceType.BROKER, str(node.id)) for node in cluster.nodes]
        answers = self._client.ask("describe its configuration", _describe_configs, servers)
        return [
            None if isinstance(found, KafkaError) else configuration_of(found)
            for found in answers.values()
        ]

    def _exposure(self, groups: Collection[str]) -> Exposure:
        if not self._observed:
            self._observe()
        names = sorted(group for group in groups if passable(group))
        answers: dict[str, Any] = {}
        if names:  # the library does not describe no group
            answers = self._client.ask(
                "describe consumer groups", describe_groups, names[:MOST_CLIENTS]
            )
        return exposure_of(self._configurations, answers, has_more=len(names) > MOST_CLIENTS)

    def _members(self, groups: Collection[str]) -> Clients:
        names = sorted(group for group in groups if passable(group))
        asked, left = names[:MOST_GROUPS], names[MOST_GROUPS:]
        answers: dict[str, Any] = {}
        for piece in _pieces(dict.fromkeys(asked), GROUPS_AT_ONCE):
            answers |= self._client.ask("describe consumer groups", describe_groups, piece)
        return clients_in(answers, left)

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
        # Kafka rejects a request that names a user twice. So each slot has its own request, and the
        # last of several passwords for one user wins.
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
                answers = self._client.ask(
                    "change SCRAM credentials", _alter, piece.values(), self._permit
                )
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
            answers = self._client.ask(change.doing, change.call, piece, self._permit)
            failures += _failures({piece[form]: answer for form, answer in answers.items()})
        return failures


def _describe_users(admin: AdminClient, timeout: float) -> Future[Any]:
    answer = admin.describe_user_scram_credentials(request_timeout=timeout)
    assert isinstance(answer, Future)  # a call with user names would return a dict
    return answer


def _describe_configs(
    admin: AdminClient, servers: list[ConfigResource], timeout: float
) -> Mapping[ConfigResource, Future[Any]]:
    return admin.describe_configs(servers, request_timeout=timeout)


def _alter(admin: AdminClient, alterations: list[Any], timeout: float) -> Mapping[str, Future[Any]]:
    return admin.alter_user_scram_credentials(alterations, request_timeout=timeout)


def _failures(answers: Mapping[Any, object]) -> list[Failure]:
    return [
        Failure(change, answer.str())
        for change, answer in answers.items()
        if isinstance(answer, KafkaError)
    ]


def _pieces(whole: Mapping[Any, T], size: int) -> Iterator[dict[Any, T]]:
    """Yield a mapping in pieces of at most `size` items."""
    items = list(whole.items())
    for start in range(0, len(items), size):
        yield dict(items[start : start + size])
