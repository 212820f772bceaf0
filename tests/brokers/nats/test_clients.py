"""NATS shows the principal of each connection, and the name that the client has chosen."""

import pytest

from tests.brokers.nats.stage import Ears, Stage, consume, fill_streams, publish, sent
from tests.brokers.waiting import becomes
from tests.patience import PATIENCE
from troth.brokers.clients import Client
from troth.brokers.nats.clients import clients_in
from troth.brokers.protocol import Batch
from troth.documents.client_name import client_name
from troth.trust.grants import Action, Slot

GUARDED = client_name(["shop/orders"])


async def clients(nats: Stage) -> set[Client]:
    await nats.broker.observe()
    return set((await nats.broker.clients(())).seen)


async def test_connections_of_both_slots_are_of_the_principal(nats: Stage) -> None:
    await nats.give(["shop"], consume("shop", "a"))
    assert not await nats.broker.apply(Batch((nats.issue("shop", Slot.SECOND),)))
    first = await nats.connect("shop", name=GUARDED)
    second = await nats.connect("shop", Slot.SECOND, name=GUARDED)
    for client in (first, second):
        await Ears(client).listen("a")
        await sent(client)
    assert await clients(nats) == {
        Client("shop", policies=("shop/orders",), actions=(Action.CONSUME,))
    }


async def test_connection_shows_what_it_is_used_for(nats: Stage) -> None:
    await nats.give(["shop", "till", "idle"], publish("shop", "a"), consume("till", "a"))
    producer, consumer = await nats.connect("shop", name="p"), await nats.connect("till", name="c")
    idle = await nats.connect("idle", name="i")
    await producer.publish("a", b"")
    await Ears(consumer).listen("a")
    for client in (producer, consumer, idle):
        await sent(client)
    assert await clients(nats) == {
        Client("shop", name="p", actions=(Action.PUBLISH,)),
        Client("till", name="c", actions=(Action.CONSUME,)),
        Client("idle", name="i"),
    }


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("\u202eevil", "\\u202eevil"),
        ("x" * 1500, "x" * 61 + "..."),
        (GUARDED + "\n", GUARDED + "\\n"),
        (None, ""),
    ],
)
async def test_hostile_name_is_escaped_and_shortened(
    nats: Stage, name: str | None, text: str
) -> None:
    await nats.give(["shop"])
    await nats.connect("shop", name=name)
    (found,) = await clients(nats)
    assert (found.policies, found.name) == (None, text)


async def test_connection_of_somebody_elses_key_is_of_no_identity(nats: Stage) -> None:
    await nats.give(["shop"])
    await nats.witness()
    assert await clients(nats) == set()


async def test_closed_connection_is_not_shown(nats: Stage) -> None:
    await nats.give(["shop"])
    client = await nats.connect("shop", name="c")
    assert await clients(nats)
    await client.close()

    async def gone() -> bool:
        return not await clients(nats)

    await becomes(gone)


async def test_clients_are_observed_without_an_earlier_observation(nats: Stage) -> None:
    await nats.give(["shop"])
    await nats.connect("shop", name="c")
    assert {each.name for each in (await nats.broker.clients(())).seen} == {"c"}


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({}, set()),
        ({"issuer_key": ["K"]}, set()),
        ({"issuer_key": None, "name": "x"}, set()),
        ({"issuer_key": "K"}, {Client("shop")}),
        ({"issuer_key": "K", "name": {"a": "\x1b"}}, {Client("shop", name="{'a': '\\x1b'}")}),
        ({"issuer_key": "K", "name": "\ud800"}, {Client("shop", name="\\ud800")}),
    ],
)
def test_odd_entry_of_a_server_is_read_without_an_error(
    entry: dict[str, object], expected: set[Client]
) -> None:
    assert clients_in([entry], {"K": "shop"}) == expected


async def test_consumer_that_fetches_from_a_stream_is_shown_as_one(nats: Stage) -> None:
    await nats.give(["till"], consume("till", "s.a.x", "d", "A"))
    witness = await nats.witness()
    await fill_streams(witness)
    client = await nats.connect("till", name="fetches")
    subscription = await client.jetstream().pull_subscribe_bind("d", "A")
    await subscription.fetch(1, timeout=PATIENCE)
    (found,) = await clients(nats)
    assert (found.principal, found.name) == ("till", "fetches")
    assert Action.CONSUME in found.actions
