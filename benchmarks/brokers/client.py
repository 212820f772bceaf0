"""A broker of the sandbox's by its own client: the floor of what Troth does there."""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

from benchmarks.brokers.market import ADMIN, ROOTS
from benchmarks.fleet.topology import Manifest

PATIENCE = 60.0
"""Seconds in which a broker must have done what it is asked for."""


class Administered(Protocol):
    """A server of the sandbox's, and what it is administered with."""

    def admin_secret(self) -> dict[str, str]:
        """Return the data of a Secret with which Troth can administer it."""

    def ca_secret(self) -> dict[str, str]:
        """Return the data of a Secret with what clients verify it with."""


Server = TypeVar("Server", bound=Administered)


class BareBroker(ABC, Generic[Server]):
    """One server, and its own client connected to it."""

    name: ClassVar[str]
    """As people know it."""

    def __init__(self, server: Server) -> None:
        self._server = server

    @classmethod
    @abstractmethod
    def connect(cls) -> AbstractAsyncContextManager[Self]:
        """Start a server, and connect."""

    @property
    def described(self) -> Manifest:
        """How a `MessageBroker` describes it."""
        secrets = {"tls": {"caSecretRef": {"name": ROOTS}}, "adminSecretRef": {"name": ADMIN}}
        return {self.name.lower(): self._reached() | secrets}

    @property
    def admin(self) -> dict[str, str]:
        """What it is administered with."""
        return self._server.admin_secret()

    @property
    def roots(self) -> dict[str, str]:
        """What it is verified with."""
        return self._server.ca_secret()

    @abstractmethod
    def _reached(self) -> Manifest:
        """Return where it is, as a `MessageBroker` says it."""

    @abstractmethod
    async def remember(self) -> None:
        """Note what Troth has made there, to make as much."""

    @abstractmethod
    async def tell(self) -> None:
        """Make as much, in bulk."""

    @abstractmethod
    async def forget(self) -> None:
        """Take that back."""

    @abstractmethod
    async def look(self) -> None:
        """Read all of it."""

    @abstractmethod
    async def change(self, topic: str, *, live: bool) -> None:
        """Have `OTHER` publish to a topic, or not any more."""

    @abstractmethod
    def effect(
        self, principal: str, topic: str, *, live: bool
    ) -> AbstractAsyncContextManager[Callable[[], Awaitable[None]]]:
        """BrokerObservation or listen until somebody may publish to a topic, or may not any more.

        What is entered with returns then.
        """


AnyBroker = BareBroker[Any]
