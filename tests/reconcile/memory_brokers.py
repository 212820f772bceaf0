"""In-memory brokers that accept every batch, for tests that do not test a broker."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from unittest import mock

from troth.brokers.clients import Clients
from troth.brokers.errors import BrokerError, UnreachableError
from troth.brokers.protocol import Batch, Failure, Login, Permit
from troth.brokers.registry import dialect_of
from troth.reconcile.brokers import connections as broker_connections
from troth.resources.messaging.message_broker import MessageBroker
from troth.resources.messaging.observed_broker import Exposure
from troth.trust.grants import Observed

AWAY = "away:9093"
"""Server that does not answer."""


@dataclass
class MemoryBroker:
    """In-memory broker that holds the applied rules and credentials."""

    seen: Observed = field(default_factory=Observed)
    connected: Clients | BrokerError = field(default_factory=Clients)
    exposed: Exposure | BrokerError = field(default_factory=Exposure)

    async def observe(self) -> Observed:
        return self.seen

    async def clients(self, groups: Collection[str]) -> Clients:
        del groups
        if isinstance(self.connected, BrokerError):
            raise self.connected
        return self.connected

    async def exposure(self, groups: Collection[str]) -> Exposure:
        del groups
        if isinstance(self.exposed, BrokerError):
            raise self.exposed
        return self.exposed

    async def apply(self, batch: Batch) -> tuple[Failure, ...]:
        told = {(each.principal, each.slot) for each in batch.credentials}
        self.seen = Observed(
            (self.seen.credentials | told) - set(batch.revocations),
            (self.seen.rules | set(batch.additions)) - set(batch.removals),
        )
        return ()

    async def disconnect(self, principals: Collection[str]) -> None:
        del principals

    async def admits(self, login: Login) -> bool:
        del login
        return False

    async def close(self) -> None:
        return


@dataclass
class MemoryBrokers:
    """All in-memory brokers, by their servers."""

    known: dict[tuple[str, ...], MemoryBroker] = field(default_factory=dict)

    def connect(
        self, broker: MessageBroker, admin: Mapping[str, bytes], authorities: str, permit: Permit
    ) -> MemoryBroker:
        """Stand in for `troth.brokers.connecting.connect`."""
        del admin, authorities, permit
        dialect_of(broker.spec.type)  # raises `UnsupportedError`
        if broker.spec.servers[0] == AWAY:
            raise UnreachableError("nobody answers")
        return self.known.setdefault(broker.spec.servers, MemoryBroker())


@contextmanager
def in_memory() -> Iterator[MemoryBrokers]:
    """Replace connections to real brokers with in-memory brokers."""
    brokers = MemoryBrokers()
    with mock.patch.object(broker_connections, "connect", brokers.connect):
        yield brokers
