"""What the operator asks of a broker, whichever it is.

Everything is by principal, and in the broker's own words (`Rule`). `observe` is one look at all of
it, foreign principals and rules included; `apply` carries out what the difference came to. Two
credentials of one principal may be good at once, in two slots, so that one can be replaced while
clients use the other.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Protocol

from troth.trust.grants import Rule, Slot
from troth.world.facts.broker import Observed

__all__ = [
    "AdminRefusedError",
    "Batch",
    "Broker",
    "BrokerError",
    "Credential",
    "Failure",
    "Login",
    "MissingExtraError",
    "NotTakenError",
    "Observed",
    "Slot",
    "UnreachableError",
    "UnsupportedError",
]


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
    revocations: tuple[tuple[str, Slot], ...] = ()
    """Credentials that must not work any more, for a new connection or one that is open."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One change that a broker did not carry out; `message` is its word, without any secret."""

    change: Rule | tuple[str, Slot]
    message: str


class BrokerError(Exception):
    """A broker did not answer as it should; the sentence says what was asked and what came."""


class UnreachableError(BrokerError):
    """Nobody answered in time."""


class AdminRefusedError(BrokerError):
    """The broker does not take the operator's own credential, or does not let it administer."""


class NotTakenError(AdminRefusedError):
    """The broker has looked at the credential and does not take it."""


class UnsupportedError(BrokerError):
    """Troth cannot administer such a broker, or not with clients of that kind."""


class MissingExtraError(BrokerError):
    """The library that speaks with such a broker is not installed."""


class Broker(Protocol):
    """One broker, administered by one credential. Connections are kept until `close`."""

    async def observe(self) -> Observed:
        """Return all credentials and rules; raises `BrokerError`."""

    async def apply(self, batch: Batch) -> tuple[Failure, ...]:
        """Carry out changes, in few calls, and return those that failed.

        A failed credential keeps the rest of its principal's additions back, and no one else's.
        Raises `BrokerError` where it is not known what was done; the batch can be sent again.
        """

    async def disconnect(self, principals: Collection[str]) -> None:
        """End the open connections of principals, as far as the broker can; raises
        `BrokerError`.
        """

    async def admits(self, login: Login) -> bool:
        """Try from outside, by a connection of its own, whether a credential lets somebody in.

        Raises `BrokerError` where that cannot be told.
        """

    async def close(self) -> None:
        """Let go of the broker."""
