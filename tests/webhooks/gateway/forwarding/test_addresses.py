"""Lookups of hosts: shared while they run, kept for a short time, and apart from other hosts."""

import asyncio
import os
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from sandbox.control_plane import free_port
from tests.patience import PATIENCE
from tests.webhooks.gateway.running import until
from troth.webhooks.gateway.forwarding import addresses
from troth.webhooks.gateway.forwarding.addresses import Addresses
from troth.webhooks.gateway.forwarding.pool import Pool

SLOW, OTHER = "slow.example", "other.example"


@dataclass
class DNS:
    """A DNS in which every host is this one, and `SLOW` is answered when `answer` is set."""

    asked: Counter[str] = field(default_factory=Counter)
    answer: threading.Event = field(default_factory=threading.Event)
    fails: bool = False

    def __call__(self, host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        self.asked[host] += 1
        if host == SLOW:
            self.answer.wait(PATIENCE)
        if self.fails:
            raise socket.gaierror(socket.EAI_AGAIN, "try again")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]


@pytest.fixture
def dns(monkeypatch: pytest.MonkeyPatch) -> Iterator[DNS]:
    dns = DNS()
    monkeypatch.setattr(socket, "getaddrinfo", dns)
    yield dns
    dns.answer.set()


async def test_slow_lookup_of_a_host_does_not_delay_another(
    dns: DNS, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("troth.webhooks.gateway.forwarding.pool.CONNECT_WITHIN", PATIENCE)
    found, context, loop = Addresses(), ssl.create_default_context(), asyncio.get_running_loop()
    due = loop.time() + PATIENCE
    threads = min(32, (os.cpu_count() or 1) + 4)  # those of asyncio
    slow = Pool(context, SLOW, (SLOW, 443), found, most=2 * threads)
    waiting = [asyncio.create_task(slow.take(due)) for _ in range(2 * threads)]
    await until(lambda: dns.asked[SLOW])
    try:
        for _ in range(3):
            with pytest.raises(ConnectionRefusedError):
                await Pool(context, OTHER, (OTHER, free_port()), found).take(due)
        assert dns.asked == {SLOW: 1, OTHER: 3}
    finally:
        for each in waiting:
            each.cancel()
        await asyncio.wait(waiting)
        dns.answer.set()  # the event loop ends after its threads


async def test_lookup_is_kept_for_its_host_and_port(
    dns: DNS, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Addresses()
    for port in (1, 2):
        for _ in range(3):
            ((*_, address),) = await found(OTHER, port)
            assert address == ("127.0.0.1", port)
    assert dns.asked == {OTHER: 2}
    monkeypatch.setattr(addresses, "KEPT", 0.0)
    await found(OTHER, 3)
    await until(lambda: (OTHER, 3) not in found._lookups)
    await found(OTHER, 3)
    assert dns.asked == {OTHER: 4}


async def test_failed_lookup_is_shared_and_not_kept(dns: DNS) -> None:
    found, dns.fails = Addresses(), True
    waiting = [asyncio.create_task(found(SLOW, 1)) for _ in range(8)]
    await until(lambda: dns.asked[SLOW])
    dns.answer.set()
    errors = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(each) for each in errors} == {socket.gaierror}
    assert dns.asked == {SLOW: 1}
    dns.fails = False
    assert await found(SLOW, 1)
    assert dns.asked == {SLOW: 2}


async def test_cancelled_caller_does_not_end_the_lookup_of_others(dns: DNS) -> None:
    found = Addresses()
    first, second = (asyncio.create_task(found(SLOW, 1)) for _ in range(2))
    await until(lambda: dns.asked[SLOW])
    first.cancel()
    await asyncio.wait([first])
    dns.answer.set()
    assert await second
    assert dns.asked == {SLOW: 1}


async def test_addresses_that_do_not_work_are_looked_up_again(dns: DNS) -> None:
    found = Addresses()
    pool = Pool(ssl.create_default_context(), OTHER, (OTHER, free_port()), found)
    for _ in range(2):
        with pytest.raises(ConnectionRefusedError):
            await pool.take(asyncio.get_running_loop().time() + PATIENCE)
    assert dns.asked == {OTHER: 2}


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_address_is_not_looked_up(host: str, dns: DNS) -> None:
    ((*_, address),) = await Addresses()(host, 443)
    assert address[:2] == (host, 443)
    assert not dns.asked
