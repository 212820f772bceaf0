"""A broker of the sandbox with its own client, which is the floor of the broker benchmarks."""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

from benchmarks.brokers.market import ADMIN, ROOTS
from benchmarks.fleet.topology import Manifest

PATIENCE = 60.0
"""Seconds until a change at a broker has timed out."""


class Administered(Protocol):
    """A server of the sandbox with its administrator's credential and its CA."""

    def admin_secret(self) -> dict[str, str]:
        """Return the data of a Secret with which Troth administers the server."""

    def ca_secret(self) -> dict[str, str]:
        """Return the data of a Secret with which clients verify the server."""


Server = TypeVar("Server", bound=Administered)


class BareBroker(ABC, Generic[Server]):
    """One server with a connected client."""

    name: ClassVar[str]
    """Name of the broker's software in reports."""

    def __init__(self, server: Server) -> None:
        self._server = server

    @classmethod
    @abstractmethod
    def connect(cls) -> AbstractAsyncContextManager[Self]:
        """Start a server and connect to it."""

    @property
    def described(self) -> Manifest:
        """Description of the broker in a `MessageBroker`."""
        secrets = {"tls": {"caSecretRef": {"name": ROOTS}}, "adminSecretRef": {"name": ADMIN}}
        return {self.name.lower(): self._reached() | secrets}

    @property
    def admin(self) -> dict[str, str]:
        """Data of the administrator's Secret."""
        return self._server.admin_secret()

    @property
    def roots(self) -> dict[str, str]:
        """Data of the Secret with the server's CA."""
        return self._server.ca_secret()

    @abstractmethod
    def _reached(self) -> Manifest:
        """Return the address of the broker in the format of a `MessageBroker`."""

    @abstractmethod
    async def remember(self) -> None:
        """Record what Troth made at the broker, so that `tell` can make the same."""

    @abstractmethod
    async def tell(self) -> None:
        """Make the same in bulk."""

    @abstractmethod
    async def forget(self) -> None:
        """Remove what `tell` made."""

    @abstractmethod
    async def look(self) -> None:
        """Read all of it."""

    @abstractmethod
    async def change(self, topic: str, *, live: bool) -> None:
        """Grant `OTHER` the right to publish to a topic, or with `live` false remove it."""

    @abstractmethod
    def effect(
        self, principal: str, topic: str, *, live: bool
    ) -> AbstractAsyncContextManager[Callable[[], Awaitable[None]]]:
        """Observe when a principal may publish to a topic, or with `live` false may no longer.

        The context yields a function that waits for this moment.
        """


AnyBroker = BareBroker[Any]
