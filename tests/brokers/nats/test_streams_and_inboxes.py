"""NATS behaviour beyond the contract: streams, inboxes, and permissions that the server widens."""

import contextlib
import json

from nats import errors
from nats.aio.msg import Msg
from nats.js.api import ConsumerConfig

from tests.brokers.nats.stage import (
    Ears,
    Stage,
    consume,
    fill_streams,
    granted,
    publish,
    sent,
    until,
)
from tests.patience import PATIENCE
from troth.brokers.nats.rules import inbox_prefix
from troth.brokers.protocol import Batch
from troth.trust.grants import Slot

PRINCIPALS = ("shop", "shop.till")


async def test_publish_to_a_stream_is_acknowledged(nats: Stage) -> None:
    witness = await nats.witness()
    await fill_streams(witness)
    await nats.give(["shop"], publish("shop", "s.a."))
    client = await nats.connect("shop")
    ack = await client.jetstream(timeout=PATIENCE).publish("s.a.new", b"order")
    assert ack.stream == "A"


async def test_principal_cannot_read_the_inbox_of_another(nats: Stage) -> None:
    witness = await nats.witness()
    await nats.give(PRINCIPALS, *(publish(principal, "ask") for principal in PRINCIPALS))
    shop = await nats.connect("shop")
    ears = Ears(shop)
    for subject in (
        f"{inbox_prefix('shop.till')}.>",
        f"{inbox_prefix('shop.till')}.*",
        f"{inbox_prefix('shop')}=2Etill.>",
        "_INBOX.>",
        "*.x",
        ">",
    ):
        await ears.listen(subject)
    own = Ears(shop)
    await own.listen(f"{inbox_prefix('shop')}.>")
    await own.settle()
    for principal in PRINCIPALS:
        await witness.publish(f"{inbox_prefix(principal)}.x", principal.encode())
    await witness.publish("_INBOX.x", b"default")
    await Ears(witness).settle()
    await own.settle()
    assert list(own.heard.values()) == [{b"shop"}]
    assert set().union(*ears.heard.values()) == set()


async def test_client_cannot_widen_its_permissions(nats: Stage) -> None:
    """Not by wildcards, by the server's own subjects, or by another queue."""
    witness = await nats.witness()
    await fill_streams(witness)
    await nats.give(["shop"], publish("shop", "a.b"), consume("shop", "s.a.x", "d", "A"))
    client = await nats.connect("shop")
    ears, heard = Ears(client), Ears(witness)
    for subject in ("a.*", "a.>", "*.b", "s.>", "$SYS.>", "$JS.EVENT.>"):
        await ears.listen(subject)
    for subject in ("a.c", "a.b.c", "a"):
        await heard.listen(subject)
    await heard.settle()
    await ears.settle()
    before = await nats.account_jwt()
    for subject in ("a.c", "a.b.c", "a"):
        await client.publish(subject, b"x")
    await witness.publish("a.b", b"x")
    jetstream = client.jetstream(timeout=0.3)
    for attempt in (
        jetstream.add_consumer("A", ConsumerConfig(durable_name="d", filter_subject="s.a.0")),
        jetstream.add_consumer("A", ConsumerConfig(durable_name="mine")),
        jetstream.delete_consumer("A", "d"),
        jetstream.delete_stream("A"),
        jetstream.get_msg("A", 1),
        jetstream.stream_info("A"),
        client.request("$SYS.REQ.CLAIMS.UPDATE", before.encode(), timeout=0.3),
        client.request("$SYS.REQ.USER.INFO", b"", timeout=0.3),
    ):
        with contextlib.suppress(errors.Error):
            await attempt
            raise AssertionError(attempt)
    await heard.settle()
    await ears.settle()
    assert not any(ears.heard.values())
    assert not any(heard.heard.values())
    assert await nats.account_jwt() == before
    info = await witness.jetstream().stream_info("A")
    assert info.state.consumer_count == 2


async def test_hostile_principal_names_are_no_templates(nats: Stage) -> None:
    """The server fills in templates from the user's JWT, which contains the principal's name."""
    await nats.give(["{{name()}}", "*"])
    for principal in ("{{name()}}", "*"):
        client = await nats.enter(nats.creds[principal, Slot.FIRST], "_INBOX")
        ears = Ears(client)
        await ears.listen(">")
        await ears.listen("*")
        await ears.settle()
        witness = await nats.witness()
        await witness.publish("a", b"x")
        await Ears(witness).settle()
        await ears.settle()
        assert not any(ears.heard.values())


async def test_changed_grants_reach_a_client_that_keeps_its_credential(nats: Stage) -> None:
    witness = await nats.witness()
    heard = Ears(witness)
    await heard.listen("b")
    await heard.settle()
    await nats.give(["shop", "till"], publish("shop", "a"), publish("till", "a"))
    client = await nats.connect("shop", allow_reconnect=True)
    untouched = await nats.connect("till")
    await client.publish("b", b"too early")
    await sent(client)
    assert not await nats.broker.apply(Batch((), granted(publish("shop", "b"))))
    await until(lambda: client.stats["reconnects"] == 1 and client.is_connected)
    await client.publish("b", b"now")
    await sent(client)
    await heard.settle()
    assert heard.heard == {("b", ""): {b"now"}}
    assert untouched.is_connected  # the server disconnects only clients whose grants change
    removed = tuple(set(granted(publish("shop", "b"))) - set(granted(publish("shop", "a"))))
    assert not await nats.broker.apply(Batch(removals=removed))
    await until(lambda: client.stats["reconnects"] == 2 and client.is_connected)
    await client.publish("b", b"too late")
    await sent(client)
    await heard.settle()
    assert heard.heard == {("b", ""): {b"now"}}


async def test_signing_key_has_the_servers_own_field_names(nats: Stage) -> None:
    """`nsc` and other administrators can still read the account."""
    await nats.give(["shop"], publish("shop", "a"))
    (entry,) = (await nats.claims())["nats"]["signing_keys"]
    assert json.loads(json.dumps(entry)) == {
        "kind": "user_scope",
        "key": entry["key"],
        "role": "shop",
        "template": {
            "pub": {"allow": ["a"]},
            "sub": {"allow": ["_INBOX_shop.>"]},
            "subs": -1,
            "data": -1,
            "payload": -1,
        },
        "description": "troth.dev/First",
    }


async def test_documented_limit_of_nats_still_exists(nats: Stage) -> None:
    """JetStream sends its answer to any reply subject; see `planning/nats_rules.py`.

    If this test fails, the server has changed, and that documentation needs an update.
    """
    witness = await nats.witness()
    await fill_streams(witness)
    await nats.give(["shop"], consume("shop", "s.a.x", "d", "A"))
    seen: list[Msg] = []

    async def hear(message: Msg) -> None:
        seen.append(message)

    await witness.subscribe("victim", cb=hear)
    await sent(witness)
    client = await nats.connect("shop")
    await client.publish("victim", b"of its own")
    await client.publish("$JS.API.CONSUMER.MSG.NEXT.A.d", b"1", reply="victim")
    await until(lambda: seen)
    assert [(message.subject, message.data) for message in seen] == [("s.a.0", b"kept")]
