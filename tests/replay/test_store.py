"""Both replay stores: claims, marks and releases; uncertain deliveries are rejected."""

import asyncio
import ssl
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import pytest
from valkey.asyncio import Valkey as Client

from sandbox.valkey import ValkeyServer
from tests.edge import shop
from tests.edge.loopback import Way
from tests.replay.stores import LEASE, WINDOW, Clock, both, claimed, new, store_of
from tests.webhooks.gateway.running import STRANGER
from troth.replay.memory import Memory
from troth.replay.store import (
    Claimed,
    Repeated,
    StoreUnavailableError,
)
from troth.replay.url_file import StoreFile
from troth.replay.valkey import Valkey


@both
async def test_claimed_delivery_is_in_flight_and_marked_one_is_done(
    kind: str, valkey: ValkeyServer
) -> None:
    async with store_of(kind, valkey) as store:
        key = new()
        claim = await claimed(store, key)
        assert await store.claim(key, LEASE) is Repeated.IN_FLIGHT
        await store.done(claim, WINDOW)
        assert await store.claim(key, LEASE) is Repeated.DONE
        assert isinstance(await store.claim(new(), LEASE), Claimed)


@both
async def test_released_claim_can_be_claimed_again(kind: str, valkey: ValkeyServer) -> None:
    async with store_of(kind, valkey) as store:
        key = new()
        await store.release(await claimed(store, key))
        await claimed(store, key)


@both
async def test_claim_of_another_holder_stays(kind: str, valkey: ValkeyServer) -> None:
    async with store_of(kind, valkey) as store:
        key = new()
        first = await claimed(store, key)
        await store.release(first)
        second = await claimed(store, key)
        await store.release(first)
        await store.done(first, WINDOW)
        assert await store.claim(key, LEASE) is Repeated.IN_FLIGHT
        await store.done(second, WINDOW)
        await store.release(second)
        assert await store.claim(key, LEASE) is Repeated.DONE


@both
async def test_mark_counts_although_the_lease_has_lapsed(kind: str, valkey: ValkeyServer) -> None:
    async with store_of(kind, valkey) as store:
        claim = Claimed(new(), b"lapsed long ago")
        await store.done(claim, WINDOW)
        assert await store.claim(claim.key, LEASE) is Repeated.DONE


@both
async def test_first_mark_keeps_its_value(kind: str, valkey: ValkeyServer) -> None:
    async with store_of(kind, valkey) as store:
        claim = await claimed(store, new())
        assert await store.value(claim.key) is None
        await store.done(claim, WINDOW, b"first" * 12)
        await store.done(Claimed(claim.key, b"lapsed"), WINDOW, b"second")
        assert await store.claim(claim.key, LEASE) is Repeated.DONE
        assert await store.value(claim.key) == b"first" * 12
        await store.release(claim)
        assert await store.value(claim.key) == b"first" * 12


@both
@pytest.mark.parametrize("length", [1, 12, 64])
async def test_mark_with_a_value_is_no_claim(kind: str, length: int, valkey: ValkeyServer) -> None:
    async with store_of(kind, valkey) as store:
        claim = await claimed(store, new())
        await store.done(claim, WINDOW, b"v" * length)
        assert await store.claim(claim.key, LEASE) is Repeated.DONE
        plain = await claimed(store, new())
        await store.done(plain, WINDOW)
        assert await store.value(plain.key) == b""


@both
async def test_one_of_many_concurrent_claims_succeeds(kind: str, valkey: ValkeyServer) -> None:
    async with store_of(kind, valkey) as store, store_of(kind, valkey) as other:
        key = new()
        stores = [store, other if kind == "valkey" else store]
        found = await asyncio.gather(*(stores[n % 2].claim(key, LEASE) for n in range(200)))
        assert sum(isinstance(each, Claimed) for each in found) == 1


async def test_claims_and_marks_lapse_in_valkey(valkey: ValkeyServer) -> None:
    store = Valkey(valkey.url)
    async with Client.from_url(valkey.url) as client:
        claim = await claimed(store, new(), 30.0)
        name = b"troth:webhook:" + claim.key
        assert 29_000 < await client.pttl(name) <= 30_000
        await store.done(claim, 3600.0)
        assert 3_599_000 < await client.pttl(name) <= 3_600_000
    await store.close()


# memory


async def test_claims_and_marks_lapse_in_memory() -> None:
    clock = Clock()
    store = Memory(clock=clock)
    left, taken = new(), new()
    await claimed(store, left, 30)
    await store.done(await claimed(store, taken, 30), 100)
    clock.now += 29
    assert await store.claim(left, 30) is Repeated.IN_FLIGHT
    clock.now += 2.5
    await claimed(store, left, 30)
    assert await store.claim(taken, 30) is Repeated.DONE
    clock.now += 67.5
    assert await store.claim(taken, 30) is Repeated.DONE
    clock.now += 2.5
    await claimed(store, taken, 30)


async def test_reclaimed_delivery_lapses_with_its_new_lease() -> None:
    clock = Clock()
    store = Memory(clock=clock)
    key = new()
    await store.release(await claimed(store, key, 10))
    clock.now += 8
    await claimed(store, key, 10)
    clock.now += 8
    assert await store.claim(key, 10) is Repeated.IN_FLIGHT
    clock.now += 4
    await claimed(store, key, 10)


async def test_lapsed_entries_are_removed_after_a_long_silence() -> None:
    clock = Clock()
    store = Memory(clock=clock)
    for _ in range(10):
        await store.done(await claimed(store, new(), 10), 100)
        clock.now += 1.5
    clock.now += 1_000_000
    await claimed(store, new())
    assert store.remembered == 1
    assert store._lapsing.keys() == {int(clock.now + LEASE) + 1}


async def test_full_memory_store_rejects_and_evicts_nothing() -> None:
    clock = Clock()
    store = Memory(3, clock)
    keys = [new() for _ in range(3)]
    for key in keys:
        await store.done(await claimed(store, key), WINDOW)
    with pytest.raises(StoreUnavailableError):
        await store.claim(new(), LEASE)
    for key in keys:
        assert await store.claim(key, LEASE) is Repeated.DONE
    clock.now += WINDOW + 2
    await claimed(store, new())


async def test_memory_is_constant_with_a_full_window() -> None:
    clock = Clock()
    store = Memory(clock=clock)

    async def pass_through(count: int) -> None:
        for _ in range(count):
            await store.done(await claimed(store, new(), 5), 10)
            clock.now += 0.01

    await pass_through(3000)
    held = store.remembered, sum(map(len, store._lapsing.values()))
    tracemalloc.start()
    await pass_through(1000)
    before, _ = tracemalloc.get_traced_memory()
    await pass_through(8000)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert abs(store.remembered - held[0]) <= 200
    assert abs(sum(map(len, store._lapsing.values())) - held[1]) <= 300
    assert after < before + 100_000


async def test_no_delivery_waits_for_a_large_table_to_be_rebuilt() -> None:
    """Also not among a million: the table that one is noted in has few of them."""
    store = Memory(clock=Clock())
    for _ in range(5000):
        await store.done(await claimed(store, new()), WINDOW)
    assert store.remembered == sum(map(len, store._done)) == 5000
    assert max(map(len, store._done)) < 5000 / 50


async def test_value_lapses_with_its_mark_in_memory() -> None:
    clock = Clock()
    store = Memory(clock=clock)
    claim = await claimed(store, new())
    await store.done(claim, 100, b"a value")
    clock.now += 102
    await claimed(store, new())
    assert await store.value(claim.key) is None
    assert not any(store._values)


async def test_mark_made_twice_counts_once_in_memory() -> None:
    clock = Clock()
    store = Memory(1, clock)
    claim = await claimed(store, new())
    for _ in range(2):
        await store.done(claim, WINDOW)
    assert store.remembered == 1
    clock.now += WINDOW + 2
    await claimed(store, new())
    assert store.remembered == 1


# Valkey


async def test_commands_of_one_loop_iteration_form_one_batch(valkey: ValkeyServer) -> None:
    store = Valkey(valkey.url, lanes=1)
    async with Client.from_url(valkey.url) as client:
        await claimed(store, new())

        async def turns(count: int) -> int:
            before = (await client.info("stats"))["total_reads_processed"]
            await asyncio.gather(*(store.claim(new(), LEASE) for _ in range(count)))
            return int((await client.info("stats"))["total_reads_processed"] - before)

        assert await turns(100) <= 3
    await store.close()


async def test_evicting_store_is_not_used() -> None:
    with ValkeyServer.serving(maxmemory_policy="volatile-ttl") as server:
        store = Valkey(server.url)
        with pytest.raises(StoreUnavailableError, match="noeviction"):
            await store.claim(new(), LEASE)
        async with Client.from_url(server.url) as client:
            await client.config_set("maxmemory-policy", "noeviction")
        await claimed(store, new())
        await store.close()


async def test_full_store_rejects_deliveries() -> None:
    with ValkeyServer.serving() as server:
        store = Valkey(server.url)
        claim = await claimed(store, new())
        async with Client.from_url(server.url) as client:
            await client.config_set("maxmemory", "1")
            with pytest.raises(StoreUnavailableError, match="rejected"):
                await store.claim(new(), LEASE)
            await client.config_set("maxmemory", "0")
        assert await store.claim(claim.key, LEASE) is Repeated.IN_FLIGHT
        await store.close()


async def test_store_without_persistence_causes_one_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with ValkeyServer.serving(appendonly="no") as server:
        store = Valkey(server.url, lanes=2)
        await asyncio.gather(*(store.claim(new(), LEASE) for _ in range(1500)))
        assert caplog.messages == ["replay store not persistent: set appendonly to yes"]
        await store.close()


async def test_killed_and_restarted_server_loses_no_claim_and_no_mark() -> None:
    with ValkeyServer.serving() as server:
        store = Valkey(server.url)
        taken, under_way = await claimed(store, new()), await claimed(store, new())
        await store.done(taken, WINDOW)
        server.stop(grace=0)
        with pytest.raises(StoreUnavailableError):
            await store.claim(new(), LEASE)
        server.restart()
        assert await store.claim(taken.key, LEASE) is Repeated.DONE
        assert await store.claim(under_way.key, LEASE) is Repeated.IN_FLIGHT
        # and its scripts are gone with it
        await store.done(under_way, WINDOW)
        assert await store.claim(under_way.key, LEASE) is Repeated.DONE
        await store.close()


async def test_server_restart_between_deliveries_goes_unnoticed() -> None:
    with ValkeyServer.serving() as server:
        store = Valkey(server.url)
        await claimed(store, new())
        server.stop()
        server.restart()
        await claimed(store, new())
        await store.close()


@asynccontextmanager
async def losing(
    port: int, tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A way to a server that loses each answer there is a mark for, and the connection with it."""
    marks: list[bytes] = []
    writers: list[asyncio.StreamWriter] = []

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, back: bool) -> None:
        with suppress(OSError):
            while data := await source.read(65536):
                if back and marks:
                    marks.pop()
                    break
                sink.write(data)
                await sink.drain()
        sink.close()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        writers.extend((writer, far_writer))
        await asyncio.gather(
            pump(reader, far_writer, back=False), pump(far_reader, writer, back=True)
        )

    async with await asyncio.start_server(relay, "127.0.0.1", 0, ssl=tls) as server:
        yield server.sockets[0].getsockname()[1], marks
        for each in writers:
            each.close()


async def test_repeated_claim_finds_its_own_token(valkey: ValkeyServer) -> None:
    async with losing(valkey.port) as (port, marks):
        store = Valkey(valkey.url.replace(str(valkey.port), str(port)), lanes=1)
        await claimed(store, new())
        key = new()
        marks.append(b"the next")
        claim = await claimed(store, key)
        assert marks == []
        assert await store.claim(key, LEASE) is Repeated.IN_FLIGHT
        await store.release(claim)
        await claimed(store, key)
        await store.close()


async def test_servers_certificate_must_have_its_name(valkey: ValkeyServer, tmp_path: Path) -> None:
    tls = shop.server_context(tmp_path, STRANGER)
    tls.verify_mode = ssl.CERT_NONE
    roots = quote(b"".join(shop.root().authority.anchors))
    async with losing(valkey.port, tls) as (port, _):
        address = valkey.url.replace("valkey://", "valkeys://").replace(str(valkey.port), str(port))
        named = f"{address.replace('127.0.0.1', 'localhost')}?ssl_ca_data={roots}"
        store = Valkey(named)
        await claimed(store, new())
        await store.close()
        for other in (named.replace("localhost", "127.0.0.1"), named.partition("?")[0]):
            stranger = Valkey(other)
            with pytest.raises(StoreUnavailableError, match="cannot be reached"):
                await stranger.claim(new(), LEASE)
            await stranger.close()
    for unverified in ("&ssl_cert_reqs=none", "&ssl_check_hostname=false&ssl_cert_reqs=none"):
        with pytest.raises(ValueError, match="the URL of the replay store is invalid"):
            Valkey(named + unverified)


async def test_unanswered_batch_times_out(valkey: ValkeyServer) -> None:
    way = Way(valkey.port)
    way.open()
    port = way.url.rpartition(":")[2]
    store = Valkey(valkey.url.replace(str(valkey.port), port), patience=0.2)
    await claimed(store, new())
    way.block()
    found = await asyncio.gather(
        *(store.claim(new(), LEASE) for _ in range(1200)), return_exceptions=True
    )
    assert all(isinstance(each, StoreUnavailableError) for each in found)
    way.open()
    await claimed(store, new())
    await store.close()
    way.close()


async def test_password_from_a_file_is_shown_nowhere(valkey: ValkeyServer, tmp_path: Path) -> None:
    password = valkey.url.split(":")[2].partition("@")[0]
    (tmp_path / "url").write_text(valkey.url + "\n")
    store = StoreFile(tmp_path / "url").store
    await claimed(store, new())
    assert password not in repr(store)
    await store.close()
    wrong = Valkey(valkey.url.replace(password, "another"))
    with pytest.raises(StoreUnavailableError) as caught:
        await wrong.claim(new(), LEASE)
    assert "another" not in str(caught.value)
    await wrong.close()
    with pytest.raises(ValueError, match="the URL of the replay store is invalid") as unread:
        Valkey(f"http://:{password}@127.0.0.1")
    assert password not in str(unread.value)
