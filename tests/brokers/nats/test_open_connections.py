"""No connection stays open after a client failed to connect, or after somebody closed it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from nats import errors
from nats.aio.transport import TcpTransport

from sandbox.brokers.nats import account_creds
from sandbox.components import LOOPBACK
from sandbox.faults.relay import Relay
from tests.brokers.nats.stage import Stage, until
from troth.clients.nats import NatsClient
from troth.edge.events.adapters.nats import connect

SOON = 10.0
"""Limit in seconds for what takes no time, however busy the machine is.

It is shorter than 30 s, after which asyncio ends a TLS shutdown, and nothing else ends it.
"""
Method = Callable[..., Awaitable[Any]]


@pytest.fixture
async def relay(nats: Stage) -> AsyncIterator[Relay]:
    async with Relay(0, nats.server.port) as relay:
        yield relay


@pytest.fixture
def sockets(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Yield the sockets that clients open."""
    opened: list[Any] = []
    method: Method = TcpTransport.connect

    async def note(transport: TcpTransport, *given: Any, **options: Any) -> None:
        await method(transport, *given, **options)
        writer: Any = transport._bare_io_writer
        opened.append(writer.get_extra_info("socket"))

    monkeypatch.setattr(TcpTransport, "connect", note)
    return opened


def place(relay: Relay) -> str:
    return f"tls://{LOOPBACK}:{relay.here}"


async def enter(nats: Stage, relay: Relay, **options: Any) -> NatsClient:
    return await nats.enter(
        account_creds("witness", nats.account), "_INBOX", at=place(relay), **options
    )


async def wait_until_closed(sockets: list[Any]) -> None:
    await until(lambda: sockets and all(each.fileno() == -1 for each in sockets), SOON)


@pytest.mark.parametrize("fails", [OSError, errors.AuthorizationError, KeyError])
async def test_connect_that_fails_closes_the_connection(
    nats: Stage, relay: Relay, sockets: list[Any], fails: type[Exception]
) -> None:
    """The library raises the error of a signature, after the TLS handshake."""
    client = NatsClient()

    def sign(_: str) -> bytes:
        relay.pause()  # the server would close the connection
        raise fails

    with pytest.raises(fails):
        await client.connect(
            place(relay), tls=nats.server.tls(), signature_cb=sign, allow_reconnect=False
        )
    assert client.is_closed
    await wait_until_closed(sockets)


async def test_connect_that_is_cancelled_closes_the_connection(
    nats: Stage,
    relay: Relay,
    sockets: list[Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "servers").write_text(place(relay))
    (tmp_path / "ca.crt").write_text(nats.server.ca())
    (tmp_path / "inbox.prefix").write_text("_INBOX")
    (tmp_path / "user.creds").write_text(account_creds("witness", nats.account))
    negotiated: Method = TcpTransport.connect_tls

    async def cancel(transport: TcpTransport, *given: Any) -> None:
        await negotiated(transport, *given)
        relay.pause()
        connecting.cancel()

    monkeypatch.setattr(TcpTransport, "connect_tls", cancel)
    connecting = asyncio.create_task(connect(tmp_path, ["shop/orders"]))
    with pytest.raises(asyncio.CancelledError):
        await connecting
    await wait_until_closed(sockets)


@pytest.mark.parametrize("limit", ["of the method", "of the caller"])
async def test_close_does_not_wait_for_a_silent_server(
    nats: Stage, relay: Relay, sockets: list[Any], limit: str
) -> None:
    client = await enter(nats, relay, pending_size=100_000_000)
    relay.pause()
    for _ in range(20):  # more than the buffers of the connection hold
        await client.publish("orders", bytes(1_000_000))
    async with asyncio.timeout(SOON):
        if limit == "of the method":
            await client.close_within(0.1)
        else:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.close(), 0.1)
    assert client.is_closed
    await wait_until_closed(sockets)


@pytest.mark.parametrize("step", ["waits for TLS", "waits to try again"])
async def test_close_ends_while_the_client_reconnects(
    nats: Stage, relay: Relay, sockets: list[Any], monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    client = await enter(nats, relay, allow_reconnect=True, connect_timeout=2 * SOON)
    handshake: Method = TcpTransport.connect_tls
    begun = asyncio.Event()

    async def fall_silent(transport: TcpTransport, *given: Any) -> None:
        begun.set()
        if step == "waits for TLS":
            relay.pause()
            await handshake(transport, *given)
        with contextlib.suppress(TimeoutError):
            relay.pause()
            await handshake(transport, *given[:-1], 0.1)
        client.options["reconnect_time_wait"] = 2 * SOON
        raise OSError

    monkeypatch.setattr(TcpTransport, "connect_tls", fall_silent)
    relay.cut()
    async with asyncio.timeout(SOON):
        await begun.wait()
    await asyncio.sleep(0.3)
    async with asyncio.timeout(SOON):
        await client.close()
    assert client.is_closed
    await wait_until_closed(sockets)


@pytest.mark.parametrize("method", ["connect", "connect_tls"])
async def test_client_that_misses_the_end_of_its_reconnecting_stays_closed(
    nats: Stage, relay: Relay, sockets: list[Any], monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    client = await enter(nats, relay, allow_reconnect=True)
    closing: list[asyncio.Task[None]] = []
    close_during(monkeypatch, method, client, closing)
    relay.cut()
    await until(lambda: closing and closing[0].done(), SOON)
    await closing[0]
    opened = relay.opened
    await asyncio.sleep(0.3)  # the library waits 0.05 s before it connects again
    assert relay.opened == opened
    assert client.is_closed
    await wait_until_closed(sockets)


@pytest.mark.parametrize("method", ["connect", "connect_tls"])
async def test_close_ends_connect(
    nats: Stage, relay: Relay, sockets: list[Any], monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    client, closing = NatsClient(), list[asyncio.Task[None]]()
    close_during(monkeypatch, method, client, closing)
    with pytest.raises(errors.ConnectionClosedError):
        await enter(nats, relay, client=client, allow_reconnect=True)
    assert client.is_closed
    await closing[0]
    await wait_until_closed(sockets)


async def test_close_ends_connect_to_a_server_that_is_down(nats: Stage) -> None:
    client = NatsClient()
    async with Relay(0, nats.server.port) as down:
        pass
    entering = asyncio.create_task(enter(nats, down, client=client, allow_reconnect=True))
    await until(lambda: client.last_error is not None, SOON)
    await client.close()
    async with asyncio.timeout(SOON):
        with pytest.raises(errors.ConnectionClosedError):
            await entering
    assert client.is_closed


async def test_close_ends_a_handshake(
    nats: Stage, relay: Relay, sockets: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, closing = NatsClient(), list[asyncio.Task[None]]()
    handshake: Method = TcpTransport.connect_tls

    async def close(transport: TcpTransport, *given: Any) -> None:
        relay.pause()
        asyncio.get_running_loop().call_later(
            0.1, lambda: closing.append(asyncio.create_task(client.close()))
        )
        await handshake(transport, *given)

    monkeypatch.setattr(TcpTransport, "connect_tls", close)
    async with asyncio.timeout(SOON):
        with pytest.raises(errors.ConnectionClosedError):
            await enter(nats, relay, client=client, allow_reconnect=True)
        await closing[0]
    await wait_until_closed(sockets)


def close_during(
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    client: NatsClient,
    closing: list[asyncio.Task[None]],
) -> None:
    """Close the client at the end of a method, which drops its cancellation then.

    asyncio.wait_for of Python 3.11 drops a cancellation that comes with the result.
    """
    whole: Method = getattr(TcpTransport, method)

    async def miss(transport: TcpTransport, *given: Any, **options: Any) -> None:
        await whole(transport, *given, **options)
        closing.append(asyncio.create_task(client.close()))
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0.1)

    monkeypatch.setattr(TcpTransport, method, miss)


async def test_handshakes_that_fail_leave_no_connections(
    nats: Stage, relay: Relay, sockets: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await enter(nats, relay, allow_reconnect=True)
    before = relay.opened

    def fail(_: str) -> bytes:
        raise OSError

    with monkeypatch.context() as patch:
        patch.setattr(client, "_signature_cb", fail)
        relay.cut()
        await until(lambda: relay.opened > before + 5, SOON)
        assert sum(each.fileno() != -1 for each in sockets) <= 1
    await until(lambda: client.is_connected, SOON)
    await client.close()
    await wait_until_closed(sockets)
