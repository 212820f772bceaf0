"""Errors, and how soon they come, if the server or the admin credential fails."""

import asyncio
import logging
import ssl
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from nats.js.api import ConsumerConfig

from sandbox.brokers.nats import NatsServer, account_creds
from sandbox.certificates import Authority
from tests.brokers.nats.stage import Stage, consume, granted, publish, until
from troth.brokers.errors import AdminRefusedError, BrokerError, UnreachableError
from troth.brokers.nats.driver import NatsBroker
from troth.brokers.nats.jwt import Key, Kind
from troth.brokers.protocol import Batch, Login, Permit
from troth.trust.grants import Slot

SOON = 30.0
"""Limit in seconds for what would otherwise never end, however busy the machine is."""


@pytest.fixture
def stopped(nats_server: NatsServer) -> Iterator[NatsServer]:
    nats_server.stop()
    yield nats_server
    nats_server.restart()


def other(
    nats: Stage, *, tls: ssl.SSLContext | None = None, creds: str = "", timeout: float = 2.0
) -> NatsBroker:
    admin = nats.admin()
    if creds:
        admin = replace(admin, creds=creds)
    return NatsBroker([nats.server.url], admin, tls or nats.server.tls(), timeout=timeout)


async def test_server_that_is_down_is_soon_reported_unreachable(
    nats: Stage, stopped: NatsServer
) -> None:
    broker = other(nats)
    for act in (
        broker.observe,
        lambda: broker.apply(Batch((nats.issue("shop"),))),
        lambda: broker.disconnect(["shop"]),
    ):
        async with asyncio.timeout(SOON):
            with pytest.raises(UnreachableError, match="cannot be reached"):
                await act()
    await broker.close()


async def test_server_that_restarts_keeps_everything(nats: Stage) -> None:
    grants = [publish("shop", "s.a"), consume("till", "s.a", "d", "S")]
    await nats.give(["shop", "till"], *grants)
    witness = (await nats.witness()).jetstream()
    await witness.add_stream(name="S", subjects=["s.a"])
    await witness.add_consumer("S", ConsumerConfig(durable_name="d"))
    broker = other(nats, timeout=2 * SOON)
    before = await broker.observe()
    producer = await nats.connect("shop", allow_reconnect=True)
    for grace in (5.0, 0.0):
        nats.server.stop(grace=grace)
        async with asyncio.timeout(SOON):  # less than the request timeout: the connection is lost
            with pytest.raises(UnreachableError):
                await broker.observe()
        nats.server.restart()
        assert await broker.observe() == before  # the same adapter, reconnected
        await until(lambda: producer.is_connected)
        assert (await producer.jetstream().publish("s.a", b"x")).stream == "S"
    assert not await broker.apply(Batch((nats.issue("till", Slot.SECOND),)))
    await broker.close()
    consumer = await nats.connect("till", Slot.SECOND)
    subscription = await consumer.jetstream().pull_subscribe_bind("d", "S")
    assert [message.data for message in await subscription.fetch(2)] == [b"x", b"x"]


async def test_unresponsive_server_is_soon_reported_unreachable(nats: Stage) -> None:
    async def say_nothing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        silent.append(writer)

    silent: list[asyncio.StreamWriter] = []
    mute = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    port = mute.sockets[0].getsockname()[1]
    broker = NatsBroker([f"tls://127.0.0.1:{port}"], nats.admin(), nats.server.tls(), timeout=1.0)
    async with asyncio.timeout(SOON):
        with pytest.raises(UnreachableError):
            await broker.observe()
    await broker.close()
    for writer in silent:
        writer.close()
    mute.close()


async def test_server_without_tls_is_sent_nothing(nats: Stage) -> None:
    """An attacker can strip TLS from the server's offer; the library would go on without it."""
    said: list[bytes] = []

    async def pose(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(
            b'INFO {"server_id":"N","version":"2.15.1","max_payload":1048576,"headers":true,'
            b'"auth_required":true,"nonce":"abc"}\r\n'
        )
        said.append(await reader.read(100))
        writer.close()

    poser = await asyncio.start_server(pose, "127.0.0.1", 0)
    port = poser.sockets[0].getsockname()[1]
    broker = NatsBroker([f"tls://127.0.0.1:{port}"], nats.admin(), nats.server.tls(), timeout=2.0)
    with pytest.raises(BrokerError, match="offers no TLS"):
        await broker.observe()
    await broker.close()
    poser.close()
    await asyncio.sleep(0)
    assert set(said) <= {b""}


async def test_server_of_another_authority_is_rejected(nats: Stage, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    stranger = ssl.create_default_context(cafile=str(authority.certificate))
    broker = other(nats, tls=stranger)
    with pytest.raises(BrokerError, match="certificate"):
        await broker.observe()
    await broker.close()


async def test_invalid_admin_credential_is_rejected(nats: Stage) -> None:
    good = nats.server.system_creds()
    for creds in (
        account_creds("admin", Key.generate(Kind.ACCOUNT)),  # of an unknown account
        account_creds("admin", nats.account),  # of the account, not of the system account
        "nonsense",
        good.replace("USER NKEY SEED-----\nSU", "USER NKEY SEED-----\nSA"),
        good.split("-----BEGIN USER NKEY")[0],
    ):
        broker = other(nats, creds=creds)
        with pytest.raises(AdminRefusedError) as refused:
            await broker.observe()
        assert "eyJ" not in str(refused.value)
        with pytest.raises(AdminRefusedError):
            await broker.apply(Batch((nats.issue("shop"),)))
        await broker.close()


async def test_missing_account_is_named(nats: Stage) -> None:
    nobody = Key.generate(Kind.ACCOUNT).public
    broker = NatsBroker([nats.server.url], replace(nats.admin(), account=nobody), nats.server.tls())
    with pytest.raises(BrokerError, match=nobody):
        await broker.observe()
    await broker.close()


async def test_no_secret_is_shown(nats: Stage, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    admin = nats.admin()
    broker = NatsBroker([nats.server.url], admin, nats.server.tls())
    credential = nats.issue("shop")
    assert not await broker.apply(Batch((credential,), granted(publish("shop", "a"))))
    claims = await nats.claims()
    claims["nats"]["signing_keys"][0]["template"] = []
    await nats.push({**claims, "nats": {**claims["nats"], "signing_keys": []}})
    told = [repr(admin), repr(broker), repr(credential), repr(Key.generate(Kind.USER)), caplog.text]
    secrets = [admin.seed, *nats.creds.values(), *admin.creds.split("\n")]
    secrets = [secret for secret in secrets if len(secret) > 40 and "---" not in secret]
    assert secrets
    assert not any(secret in text for secret in secrets for text in told)
    await broker.close()


async def test_batch_whose_answer_was_lost_can_be_applied_again(
    nats: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = Batch((nats.issue("shop"),), granted(publish("shop", "a")))
    asked = nats.broker._link.ask

    async def lose(subject: str, payload: bytes, what: str, *permit: Permit) -> bytes:
        answer = await asked(subject, payload, what, *permit)
        if subject.endswith("CLAIMS.UPDATE"):
            raise UnreachableError("lost")
        return answer

    with monkeypatch.context() as patch:
        patch.setattr(nats.broker._link, "ask", lose)
        with pytest.raises(UnreachableError):
            await nats.broker.apply(batch)
    before = await nats.account_jwt()
    assert not await nats.broker.apply(batch)
    assert await nats.account_jwt() == before
    assert (await nats.broker.observe()).credentials == {("shop", Slot.FIRST)}


async def test_admits_raises_if_the_server_is_down(nats: Stage, stopped: NatsServer) -> None:
    broker = other(nats)
    nats.issue("shop")
    for creds in (nats.creds["shop", Slot.FIRST], "nonsense"):
        with pytest.raises(BrokerError) as raised:
            await broker.admits(Login("shop", Slot.FIRST, creds))
        assert creds not in str(raised.value)
    await broker.close()
