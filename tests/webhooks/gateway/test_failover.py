"""Failover of the replay store: replicated deliveries are not repeated."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from os import urandom
from pathlib import Path

import pytest
from valkey.asyncio import Valkey as Client

from sandbox.valkey import LOOPBACK, ValkeyServer
from tests.edge.loopback import Way
from tests.webhooks.gateway.running import running_gateway
from troth.replay.store import Claimed, StoreUnavailableError
from troth.replay.valkey import Valkey


@dataclass
class Pair:
    """A primary and its replica, behind a name that leads to the one and then to the other."""

    primary: ValkeyServer
    replica: ValkeyServer
    way: Way
    old: Client
    new: Client

    @property
    def url(self) -> str:
        return self.primary.url.replace(str(self.primary.port), self.way.url.rpartition(":")[2])

    async def caught_up(self) -> None:
        """Wait until the replica has all that the primary has confirmed."""
        await self.old.set("the last", "write")
        assert await self.old.execute_command("WAIT", 1, 20_000) == 1

    def die(self) -> None:
        """Kill the primary."""
        self.way.close()
        self.primary.stop(grace=0)

    async def promote(self) -> None:
        """Make the replica the primary, and have the name lead there."""
        await self.new.execute_command("REPLICAOF", "NO", "ONE")
        self.way.target = self.replica.port
        self.way.open()


@asynccontextmanager
async def pair() -> AsyncIterator[Pair]:
    with ValkeyServer.serving() as primary, ValkeyServer.serving() as replica:
        way = Way(primary.port)
        way.open()
        password = primary.url.split(":")[2].partition("@")[0]
        async with Client.from_url(primary.url) as old, Client.from_url(replica.url) as new:
            await new.config_set("masterauth", password)
            await new.config_set("requirepass", password)
            await old.config_set("repl-diskless-sync-delay", 0)  # no other replica is coming
            await new.execute_command("REPLICAOF", LOOPBACK, primary.port)
            while (await new.info("replication"))["master_link_status"] != "up":
                pass
            yield Pair(primary, replica, way, old, new)
        way.close()


async def test_accepted_delivery_is_not_repeated_after_a_failover(tmp_path: Path) -> None:
    async with pair() as stores, running_gateway(tmp_path, Valkey(stores.url)) as at:
        taken = [at.sender.signed() for _ in range(5)]
        for delivery in taken:
            assert (await at.sender.send(delivery)).status == 200
        await stores.caught_up()
        stores.die()
        fresh = at.sender.signed()
        for delivery in (*taken, fresh):
            assert (await at.sender.send(delivery)).status == 503
        await stores.promote()
        for delivery in taken:
            assert (await at.sender.send(delivery)).status == 200
        assert len(at.ledger.seen) == 5
        assert (await at.sender.send(fresh)).status == 200
        assert len(at.ledger.seen) == 6


async def test_former_primary_is_left(tmp_path: Path) -> None:
    """Its connections stand, and it confirms nothing: where its name leads now is another."""
    async with pair() as stores:
        store = Valkey(stores.url, lanes=1)
        assert isinstance(await store.claim(urandom(32), 30.0), Claimed)
        await stores.promote()
        await stores.old.execute_command("REPLICAOF", LOOPBACK, stores.replica.port)
        with pytest.raises(StoreUnavailableError, match="ReadOnlyError"):
            await store.claim(urandom(32), 30.0)
        assert isinstance(await store.claim(urandom(32), 30.0), Claimed)
        await store.close()
