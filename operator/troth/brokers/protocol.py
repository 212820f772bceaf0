"""Interfaces of a broker type: a pure `Dialect`, and a `Driver` that does I/O.

A dialect translates grants and credentials into the broker's own terms (`Rule`), without contacting
a broker. Planning uses it. A driver observes and changes one broker. One principal can have two
valid credentials at once, in two slots, so that Troth can replace one while clients use the other.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar, Protocol

from troth.brokers.admin_secret import AdminSecret
from troth.brokers.clients import Clients
from troth.resources.messaging.broker_type import BrokerType
from troth.resources.messaging.message_broker import MessageBroker, Owns
from troth.resources.messaging.observed_broker import Exposure
from troth.resources.references import Ref
from troth.trust.grants import Action, Grant, Observed, Place, Rule, Slot, Topic


@dataclass(frozen=True, slots=True)
class CredentialRequest:
    """Request for a principal's credential at a broker, with what its clients need to connect.

    `authorities` are the PEM roots of the servers' certificates, empty for the system's. `account`
    is the separate part of the servers that holds the principal, empty if there is only one.
    """

    broker: Ref
    type: BrokerType
    principal: str
    servers: tuple[str, ...]
    authorities: str = ""
    account: str = ""


@dataclass(frozen=True, slots=True)
class NewCredential:
    """Credential that was just issued.

    A client authenticates with `secret`, and the broker receives `material`. For Kafka both are the
    password. For NATS they are a `.creds` file and the public key that signed its user.
    """

    secret: str = field(repr=False)
    material: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class NewAdmin:
    """New admin credential; `data` are the keys of the admin Secret that change."""

    material: str = field(repr=False)
    fingerprint: str
    data: Mapping[str, bytes] = field(repr=False)


class AdminDialect(ABC):
    """How Troth rotates the credential with which it administers a broker."""

    @abstractmethod
    def place(self, admin: AdminSecret) -> tuple[Place | None, str]:
        """Return where the broker keeps the admin credential, and its fingerprint.

        The place is None and the fingerprint empty for a credential that Troth does not rotate,
        such as a certificate. Raises `AdminRefusedError` for a Secret without a usable credential.
        """

    @abstractmethod
    def issue(self, slot: Slot) -> NewAdmin:
        """Return a new admin credential for a slot."""

    @abstractmethod
    def slot_taken(self, user: str) -> str:
        """Return the message for an admin user whose other slot holds a foreign credential."""


class Dialect(ABC):
    """Terms of a broker type, without contact to a broker. A dialect is pure and has no state.

    Every `ValueError` is a sentence for a status. It names the invalid value, and never a secret.
    """

    name: ClassVar[str]
    """Name of the broker type in sentences, such as Kafka."""
    extra: ClassVar[str]
    """Extra of the Python package that installs the client library, such as kafka."""
    driver: ClassVar[str]
    """Module of the driver, with a function `connect` (`Connect`).

    It is imported when the first broker of this type is administered, and never by planning.
    """
    secret_key: ClassVar[str]
    """Key of the secret part in the data of a credential's Secret, such as password.

    During a handover, the data also has this key with the prefix `next-` or `retiring-`.
    """
    public_keys: ClassVar[frozenset[str]]
    """Keys that `public_data` may return. The world stores their values."""

    # Grants

    def obstacle(self, broker: MessageBroker) -> str:  # noqa: ARG002 - for those that have one
        """Return why Troth cannot administer a broker with this spec, "" if it can."""
        return ""

    @abstractmethod
    def rules(self, grant: Grant) -> frozenset[Rule]:
        """Return the rules that permit exactly what a grant says.

        Raises `ValueError` for a name that the broker does not allow, or that the broker could
        interpret as more than the grant says. Raises it also for a missing group that the broker
        requires.
        """

    @abstractmethod
    def access(self, rule: Rule, topic: Topic, stream: str = "") -> frozenset[Action]:
        """Return what a rule, foreign ones included, allows or denies on topics.

        A rule that allows counts if it concerns any of the topics, and one that denies if it
        concerns all. `stream` stores their messages, and is empty if none does.
        """

    @abstractmethod
    def is_owned(self, rule: Rule, owns: Owns) -> bool:
        """Return whether everything that a rule of Troth's names is owned."""

    @abstractmethod
    def is_wildcard(self, rule: Rule) -> bool:
        """Return whether a rule names every topic, or every principal."""

    def signer_of(self, principal: str) -> str:  # noqa: ARG002
        """Return the principal that has signed a foreign one, "" if none has."""
        return ""

    # Credentials of clients

    @abstractmethod
    def issue(self, request: CredentialRequest, now: datetime) -> NewCredential:
        """Return a new credential.

        Raises `ValueError` for a principal or an account that cannot have one, and
        `MissingExtraError`.
        """

    @abstractmethod
    def material_of(self, principal: str, secret: str) -> str:
        """Return what the broker receives for a secret.

        Raises `ValueError` if Troth did not issue the secret to the principal, and
        `MissingExtraError`.
        """

    @abstractmethod
    def fingerprint_of(self, material: str) -> str:
        """Return a public fingerprint of a credential, at most 64 characters."""

    @abstractmethod
    def public_data(self, request: CredentialRequest) -> Mapping[str, str]:
        """Return the public part of the data of a credential's Secret.

        When it changes, Troth writes the Secret again. Raises `ValueError` for a principal that the
        broker would misread.
        """

    def files(self, request: CredentialRequest, slot: Slot, secret: str) -> Mapping[str, str]:  # noqa: ARG002
        """Return files for client libraries, which contain the secret, for the Secret's data."""
        return {}

    @abstractmethod
    def admin(self, broker: MessageBroker) -> AdminDialect | str:
        """Return how Troth rotates the admin credential of a broker, or why it never does."""


@dataclass(frozen=True, slots=True)
class Credential:
    """Credential of a principal, as the broker receives it.

    `material` is a password for Kafka, and for NATS the public key that signed the user.
    """

    principal: str
    slot: Slot
    material: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Login:
    """Credential as a client has it; `secret` is a Kafka password or a NATS `.creds` file."""

    principal: str
    slot: Slot
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Batch:
    """Changes, carried out in this order. A change that is already in effect is no failure."""

    credentials: tuple[Credential, ...] = ()
    additions: tuple[Rule, ...] = ()
    removals: tuple[Rule, ...] = ()
    revocations: tuple[Place, ...] = ()
    """Credentials to revoke, for new connections and for open ones."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One change that a broker did not carry out; `message` is the cause, without any secret."""

    change: Rule | Place
    message: str


Permit = Callable[[], None]
"""Raises an exception if this process may not change a broker now, because it lost its lease.

A driver calls it immediately before each call that changes the broker, from any thread, and lets
the exception pass. A batch of many calls can outlast the lease.
"""


class Driver(Protocol):
    """Driver of one broker, with one admin credential. Connections stay open until `close`."""

    async def observe(self) -> Observed:
        """Return all credentials, rules and openings, foreign ones included.

        Raises `BrokerError`.
        """

    async def apply(self, batch: Batch) -> tuple[Failure, ...]:
        """Carry out changes, in few calls, and return those that failed.

        If a credential fails, the additions of its principal are not applied; other principals are
        unaffected. Raises `BrokerError` if it is unknown which changes took effect; the batch can
        be applied again.
        """

    async def disconnect(self, principals: Collection[str]) -> None:
        """Close the open connections of principals, if the broker supports it.

        Raises `BrokerError`.
        """

    async def admits(self, login: Login) -> bool:
        """Return whether the broker accepts a credential, tried with a separate connection.

        Raises `BrokerError` if the broker gives no clear answer.
        """

    async def clients(self, groups: Collection[str]) -> Clients:
        """Return the clients that are connected now, or were at the last observation.

        `groups` are the consumer groups to look at, for a broker that shows clients by group. The
        result is bounded by the number of principals and groups. Raises `BrokerError` if the
        broker does not show its clients, or not to Troth.
        """

    async def exposure(self, groups: Collection[str]) -> Exposure:
        """Return what the broker shows of its listeners, its super users and its clients.

        `groups` are as in `clients`. `hidden` of the result has each aspect that the broker does
        not show completely, so that nobody takes its silence for safety; rights are an aspect that
        `observe` returns. Lists are bounded and in a fixed order. Raises `BrokerError`.
        """

    async def close(self) -> None:
        """Close the connections to the broker."""


class Connect(Protocol):
    """Signature of the function `connect` in a driver's module."""

    def __call__(
        self, broker: MessageBroker, admin: AdminSecret, roots: str, permit: Permit, /
    ) -> Driver:
        """Return the driver of a broker, which connects at its first request.

        `roots` are the PEM roots of the servers' certificates, empty for the system's. Raises
        `AdminRefusedError` for an unusable admin Secret. The error names the key and quotes no
        value.
        """
