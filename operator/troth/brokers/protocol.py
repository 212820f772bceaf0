"""What Troth asks of a broker type: a `Dialect`, which is pure, and a `Driver`, which does I/O.

A dialect says what grants and credentials are at a broker, without contacting one. Planning reads
it. A driver observes one broker and changes it. Both speak of principals, in the broker's own words
(`Rule`). One principal may have two valid credentials at once, in two slots, so that Troth can
replace one while clients use the other.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar, Protocol

from troth.brokers.admin_secret import AdminSecret
from troth.resources.messaging.broker_type import BrokerType
from troth.resources.messaging.message_broker import MessageBroker
from troth.resources.references import Ref
from troth.trust.grants import Grant, Observed, Place, Rule, Slot


@dataclass(frozen=True, slots=True)
class CredentialRequest:
    """Whose credential it is, at which broker, and what its clients must know of the broker.

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
    """A credential that was just issued.

    `secret` is what a client proves itself with, and `material` what the broker is told: Kafka has
    a password for both; NATS a `.creds` file and the public key that signed its user.
    """

    secret: str = field(repr=False)
    material: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class NewAdmin:
    """A new admin credential: what the broker is told, and the admin Secret's data that changes."""

    material: str = field(repr=False)
    fingerprint: str
    data: Mapping[str, bytes] = field(repr=False)


class Dialect(ABC):
    """A broker type as Troth knows it without contacting a broker. It is pure and has no state.

    Every `ValueError` is a sentence for a status. It names the value that is wrong, and never a
    secret.
    """

    name: ClassVar[str]
    """Name of the broker type in sentences, such as Kafka."""
    extra: ClassVar[str]
    """Extra of the package that installs the client library, such as kafka."""
    driver: ClassVar[str]
    """Module with the driver, which has a function `connect` (`Connect`). It is imported when the
    first broker of this type is administered, and never by planning."""
    secret_key: ClassVar[str]
    """Key of the secret part in the data of a credential's Secret, such as password. While a
    handover is under way, the same key has the prefix `next-` or `retiring-` beside it."""
    public_keys: ClassVar[frozenset[str]]
    """Keys that `public_data` may return. Their values enter the world."""

    # Grants

    def obstacle(self, broker: MessageBroker) -> str:  # noqa: ARG002 - for those that have one
        """Return why Troth cannot administer a broker with this description, "" if it can."""
        return ""

    @abstractmethod
    def rules(self, grant: Grant) -> frozenset[Rule]:
        """Return the rules that give a grant and nothing beside it.

        Raises `ValueError` for a name that the broker does not allow or could take for more than
        the grant says, and for a missing group where the broker needs one.
        """

    # Credentials of clients

    @abstractmethod
    def issue(self, request: CredentialRequest, now: datetime) -> NewCredential:
        """Return a new credential.

        Raises `ValueError` for a principal or an account that cannot have one, and
        `MissingExtraError`.
        """

    @abstractmethod
    def material_of(self, principal: str, secret: str) -> str:
        """Return what the broker is told of a secret.

        Raises `ValueError` if it is not one that Troth issued to the principal, and
        `MissingExtraError`.
        """

    @abstractmethod
    def fingerprint_of(self, material: str) -> str:
        """Return at most 64 characters that identify a credential. They are public."""

    @abstractmethod
    def public_data(self, request: CredentialRequest) -> Mapping[str, str]:
        """Return the data of the Secret, beside the secret, that is public.

        The Secret is rewritten when it changes. Raises `ValueError` for a principal that the broker
        would misread.
        """

    def files(self, request: CredentialRequest, slot: Slot, secret: str) -> Mapping[str, str]:  # noqa: ARG002
        """Return data of the Secret that holds the secret again, as client libraries read it."""
        return {}

    # The credential with which Troth administers the broker

    @abstractmethod
    def admin_obstacle(self, broker: MessageBroker) -> str:
        """Return why Troth never replaces the admin credential of a broker, "" if it does.

        A dialect that returns "" for any broker defines the next three methods.
        """

    def admin_place(self, admin: AdminSecret) -> tuple[Place | None, str]:  # noqa: ARG002
        """Return where the broker keeps the admin credential, and its fingerprint.

        The place is None, and the fingerprint empty, of one that Troth does not replace, such as a
        certificate. Raises `AdminRefusedError` for a Secret without a usable credential.
        """
        return None, ""

    def new_admin(self, slot: Slot) -> NewAdmin:
        """Return a new admin credential for a slot."""
        raise NotImplementedError

    def admin_slot_taken(self, user: str) -> str:
        """Return the sentence that says that the user's other slot has a foreign credential."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Credential:
    """What a principal proves itself with, as its broker must know it.

    `material` is the broker's own: Kafka a password, for NATS the public key that signed the user.
    """

    principal: str
    slot: Slot
    material: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Login:
    """A credential as a client has it: `secret` is Kafka's password, or NATS's `.creds` file."""

    principal: str
    slot: Slot
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Batch:
    """Changes, carried out in this order. What is there already, or gone already, is no failure."""

    credentials: tuple[Credential, ...] = ()
    additions: tuple[Rule, ...] = ()
    removals: tuple[Rule, ...] = ()
    revocations: tuple[Place, ...] = ()
    """Credentials that must not work any more, for a new connection or one that is open."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One change that a broker did not carry out; `message` is its word, without any secret."""

    change: Rule | Place
    message: str


class Driver(Protocol):
    """One broker, administered by one credential. Connections are kept until `close`."""

    async def observe(self) -> Observed:
        """Return all credentials and rules, foreign ones included; raises `BrokerError`."""

    async def apply(self, batch: Batch) -> tuple[Failure, ...]:
        """Carry out changes, in few calls, and return those that failed.

        A failed credential keeps the rest of its principal's additions back, and no one else's.
        Raises `BrokerError` where it is not known what was done; the batch can be sent again.
        """

    async def disconnect(self, principals: Collection[str]) -> None:
        """Close the open connections of principals, as far as the broker can; raises
        `BrokerError`.
        """

    async def admits(self, login: Login) -> bool:
        """Try from outside, by a connection of its own, whether a credential lets somebody in.

        Raises `BrokerError` where that cannot be told.
        """

    async def close(self) -> None:
        """Close the connections to the broker."""


class Connect(Protocol):
    """The function `connect` of a driver's module."""

    def __call__(self, broker: MessageBroker, admin: AdminSecret, roots: str, /) -> Driver:
        """Return the driver of a broker, which connects when it is first asked something.

        `roots` are the PEM roots of the servers' certificates, empty for the system's.
        Raises `AdminRefusedError` for an admin Secret that cannot be used. It names the key, and
        quotes no value.
        """
