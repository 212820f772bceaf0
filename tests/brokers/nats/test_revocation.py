"""A revoked credential no longer works, on new and on open connections."""

import asyncio
import json

import pytest
from nats import errors
from nats.aio.msg import Msg

from tests.brokers.nats.stage import Ears, Stage, consume, publish, sent, until
from tests.brokers.waiting import becomes
from troth.brokers.nats.jwt import Key, Kind, creds_file, encode
from troth.brokers.protocol import Batch, Login
from troth.trust.grants import Slot


async def connections(nats: Stage) -> list[int]:
    request = json.dumps({"auth": True, "acc": nats.account.public}).encode()
    data = await nats.link.ask_json("$SYS.REQ.SERVER.PING.CONNZ", request, "connections")
    return [entry["cid"] for entry in data["connections"]]


async def test_revoked_credential_is_disconnected_and_cannot_connect(nats: Stage) -> None:
    await nats.give(["shop", "till"], publish("shop", "a"), publish("till", "a"))
    revoked, other = await nats.connect("shop"), await nats.connect("till")
    assert not await nats.broker.apply(Batch(revocations=(("shop", Slot.FIRST),)))
    await until(lambda: revoked.is_closed)
    assert other.is_connected
    assert len(await connections(nats)) == 1
    with pytest.raises(errors.Error, match=r"(?i)authorization"):
        await nats.connect("shop")


async def test_revoked_credential_publishes_nothing_after_the_answer(nats: Stage) -> None:
    await nats.give(["shop"], publish("shop", "a"))
    witness, client = await nats.witness(), await nats.connect("shop")
    number = 0
    heard: list[int] = []

    async def hear(message: Msg) -> None:
        heard.append(int(message.data))

    await witness.subscribe("a", cb=hear)
    await sent(witness)

    async def publish_on() -> None:
        nonlocal number
        while client.is_connected:
            number += 1
            await client.publish("a", b"%d" % number)
            await sent(client)

    publishing = asyncio.create_task(publish_on())
    await until(lambda: heard)
    assert not await nats.broker.apply(Batch(revocations=(("shop", Slot.FIRST),)))
    answered = number
    await until(lambda: client.is_closed)
    publishing.cancel()  # the library waits for an answer to its ping, which never comes
    await sent(witness)
    assert max(heard) <= answered


async def test_both_slots_work_and_one_is_revoked_without_the_other(nats: Stage) -> None:
    await nats.give(["shop"], publish("shop", "a"), consume("shop", "b"))
    assert not await nats.broker.apply(Batch((nats.issue("shop", Slot.SECOND),)))
    witness = await nats.witness()
    heard = Ears(witness)
    await heard.listen("a")
    await heard.settle()
    first, second = await nats.connect("shop"), await nats.connect("shop", Slot.SECOND)
    for client, data in ((first, b"first"), (second, b"second")):
        await client.publish("a", data)
        await sent(client)
    await heard.settle()
    assert heard.heard == {("a", ""): {b"first", b"second"}}
    assert not await nats.broker.apply(Batch(revocations=(("shop", Slot.FIRST),)))
    await until(lambda: first.is_closed)
    await second.publish("a", b"still")
    await sent(second)
    await heard.settle()
    assert heard.heard == {("a", ""): {b"first", b"second", b"still"}}


async def test_credential_replaced_in_its_slot_is_revoked(nats: Stage) -> None:
    await nats.give(["shop"], publish("shop", "a"))
    old, client = nats.creds["shop", Slot.FIRST], await nats.connect("shop")
    assert not await nats.broker.apply(Batch((nats.issue("shop"),)))
    await until(lambda: client.is_closed)
    with pytest.raises(errors.Error, match=r"(?i)authorization"):
        await nats.enter(old, "_INBOX_shop")
    assert (await nats.connect("shop")).is_connected


async def test_disconnect_closes_exactly_the_principals_connections(
    nats: Stage,
) -> None:
    await nats.give(["shop", "till", "cellar"])
    assert not await nats.broker.apply(Batch((nats.issue("shop", Slot.SECOND),)))
    ended = [
        await nats.connect("shop"),
        await nats.connect("shop"),
        await nats.connect("shop", Slot.SECOND),
        await nats.connect("till"),
    ]
    stays = [await nats.connect("cellar"), await nats.witness()]
    await nats.broker.disconnect(["shop", "till", "nobody"])
    assert len(await connections(nats)) == 2
    for client in ended:
        await until(lambda client=client: client.is_closed)
    assert all(client.is_connected for client in stays)
    await nats.broker.disconnect([])
    await nats.broker.disconnect(["shop"])  # has no open connection


async def test_disconnected_client_with_a_valid_credential_reconnects(nats: Stage) -> None:
    await nats.give(["shop"])
    client = await nats.connect("shop", allow_reconnect=True)
    await nats.broker.disconnect(["shop"])
    await until(lambda: client.stats["reconnects"] == 1 and client.is_connected)


async def test_many_connections_are_all_closed(
    nats: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await nats.give(["shop"])
    clients = [await nats.connect("shop") for _ in range(20)]
    monkeypatch.setattr("troth.brokers.nats.listing._CONNECTIONS", 3)
    await nats.broker.disconnect(["shop"])
    assert not await connections(nats)
    await asyncio.gather(*(until(lambda client=client: client.is_closed) for client in clients))


async def test_user_with_its_own_permissions_is_rejected(nats: Stage) -> None:
    """The server rejects a user of a scoped key whose JWT has permissions."""
    signer, user = Key.generate(Kind.ACCOUNT), Key.generate(Kind.USER)
    credential = nats.issue("shop")
    assert not await nats.broker.apply(
        Batch((type(credential)("shop", Slot.FIRST, signer.public),))
    )
    wide = {"pub": {"allow": [">"]}, "sub": {"allow": [">"]}, "subs": -1, "data": -1}
    nats_claims = {**wide, "issuer_account": nats.account.public, "type": "user", "version": 2}
    token = encode({"name": "shop", "sub": user.public, "nats": nats_claims}, signer, 1)
    with pytest.raises(errors.Error, match=r"(?i)authorization"):
        await nats.enter(creds_file(token, user), "_INBOX")


async def test_login_attempt_leaves_no_connection(nats: Stage) -> None:
    await nats.give(["shop"])
    assert await nats.broker.admits(Login("shop", Slot.FIRST, nats.creds["shop", Slot.FIRST]))

    async def gone() -> bool:
        return not await connections(nats)

    await becomes(gone)  # the server may notice the close a moment later
