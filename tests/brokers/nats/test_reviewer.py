"""A reviewer at a real NATS: it reads one stream of dead letters, and needs no consumer for it."""

import json
from typing import Any

from nats.aio.client import Client
from nats.js.api import ConsumerConfig

from tests.brokers.nats.denials import Denials
from tests.brokers.nats.stage import Ears, Stage, consume, granted, publish, until
from tests.patience import PATIENCE
from troth.brokers.protocol import Batch
from troth.trust.grants import Action, Grant, Topic

LETTERS, ORIGIN, RETRY = "prod.dlq", "prod.orders", "prod.retry"
READS = Grant("reviewer", Action.REVIEW, Topic(LETTERS), stream="DLQ")


async def opened(nats: Stage, denials: Denials | None = None) -> tuple[Client, Client]:
    """Return a witness and the reviewer, at a broker with three streams and three letters."""
    witness = await nats.witness()
    jetstream = witness.jetstream()
    streams = (("DLQ", LETTERS), ("ORDERS", ORIGIN), ("RETRY", RETRY))
    for name, subject in streams:
        await jetstream.add_stream(
            name=name, subjects=[subject], storage="memory", allow_direct=True
        )
        for number in range(3):
            await jetstream.publish(subject, f"{name} {number}".encode())
    await jetstream.add_consumer("RETRY", ConsumerConfig(durable_name="d", filter_subject=RETRY))
    await nats.give(
        ["reviewer", "shop"],
        READS,
        publish("reviewer", LETTERS),
        publish("shop", LETTERS),
        consume("shop", RETRY, "d", "RETRY"),
    )
    told: dict[str, Any] = {} if denials is None else {"error_cb": denials.note}
    return witness, await nats.connect("reviewer", allow_reconnect=True, **told)


async def last_sequences(witness: Client) -> list[int]:
    """Return the number of the last message of each stream."""
    jetstream = witness.jetstream(timeout=PATIENCE)
    return [
        (await jetstream.stream_info(each)).state.last_seq for each in ("DLQ", "ORDERS", "RETRY")
    ]


async def batch(client: Client, stream: str, since: int, count: int) -> list[bytes]:
    """Read messages by one direct get of several (ADR-31)."""
    inbox = client.new_inbox()
    replies = await client.subscribe(inbox)
    asked = {"seq": since, "batch": count, "next_by_subj": LETTERS}
    await client.publish(f"$JS.API.DIRECT.GET.{stream}", json.dumps(asked).encode(), inbox)
    found: list[bytes] = []
    while ((reply := await replies.next_msg(PATIENCE)).headers or {}).get("Status") != "204":
        found.append(reply.data)
    await replies.unsubscribe()
    return found


async def test_reviewer_reads_the_letters_and_records_there(nats: Stage) -> None:
    _, reviewer = await opened(nats)
    jetstream = reviewer.jetstream(timeout=PATIENCE)
    info = await jetstream.stream_info("DLQ")
    assert (info.state.first_seq, info.state.last_seq) == (1, 3)
    assert (await jetstream.get_msg("DLQ", 2, direct=True)).data == b"DLQ 1"
    assert await batch(reviewer, "DLQ", 2, 10) == [b"DLQ 1", b"DLQ 2"]
    assert (await jetstream.publish(LETTERS, b"record")).seq == 4


async def test_reviewer_reads_no_other_stream_and_changes_none(nats: Stage) -> None:
    denials = Denials()
    witness, reviewer = await opened(nats, denials)
    heard = Ears(witness)
    await heard.listen(ORIGIN)
    await heard.listen(RETRY)
    await heard.settle()
    jetstream = reviewer.jetstream(timeout=PATIENCE)
    for attempt, subject in (
        (jetstream.get_msg("ORDERS", 1, direct=True), "$JS.API.DIRECT.GET.ORDERS"),
        (jetstream.get_msg("RETRY", 1, direct=True), "$JS.API.DIRECT.GET.RETRY"),
        (jetstream.get_msg("DLQ", 1), "$JS.API.STREAM.MSG.GET.DLQ"),
        (jetstream.stream_info("ORDERS"), "$JS.API.STREAM.INFO.ORDERS"),
        (
            jetstream.add_consumer("DLQ", ConsumerConfig(durable_name="mine")),
            "$JS.API.CONSUMER.DURABLE.CREATE.DLQ",
        ),
        (jetstream.delete_msg("DLQ", 1), "$JS.API.STREAM.MSG.DELETE.DLQ"),
        (jetstream.purge_stream("DLQ"), "$JS.API.STREAM.PURGE.DLQ"),
        (jetstream.delete_stream("DLQ"), "$JS.API.STREAM.DELETE.DLQ"),
        (jetstream.publish(ORIGIN, b"redriven without a review"), ORIGIN),
        (jetstream.publish(RETRY, b"redriven without a review"), RETRY),
    ):
        assert await denials.answer(attempt, subject) is None, subject
    await heard.settle()
    assert not any(heard.heard.values())
    assert await last_sequences(witness) == [3, 3, 3]


async def test_consumer_cannot_read_the_letters_that_it_publishes(nats: Stage) -> None:
    await opened(nats)
    denials = Denials()
    shop = await nats.connect("shop", error_cb=denials.note)
    ears = Ears(shop)
    await ears.listen(LETTERS)
    await ears.settle()
    jetstream = shop.jetstream(timeout=PATIENCE)
    for attempt, subject in (
        (jetstream.get_msg("DLQ", 1, direct=True), "$JS.API.DIRECT.GET.DLQ"),
        (jetstream.stream_info("DLQ"), "$JS.API.STREAM.INFO.DLQ"),
    ):
        assert await denials.answer(attempt, subject) is None, subject
    await jetstream.publish(LETTERS, b"a letter")
    await ears.settle()
    assert not any(ears.heard.values())


async def test_right_to_publish_again_comes_and_goes(nats: Stage) -> None:
    denials = Denials()
    witness, reviewer = await opened(nats, denials)
    redrive = granted(publish("reviewer", RETRY))
    fresh = tuple(set(redrive) - set(granted(READS)))
    assert not await nats.broker.apply(Batch((), fresh))
    await until(lambda: reviewer.stats["reconnects"] == 1 and reviewer.is_connected)
    jetstream = reviewer.jetstream(timeout=PATIENCE)
    assert (await jetstream.publish(RETRY, b"redriven")).stream == "RETRY"
    assert not await nats.broker.apply(Batch(removals=fresh))
    await until(lambda: reviewer.stats["reconnects"] == 2 and reviewer.is_connected)
    assert await denials.answer(jetstream.publish(RETRY, b"too late"), RETRY) is None
    assert await last_sequences(witness) == [3, 3, 4]
    assert (await jetstream.get_msg("DLQ", 1, direct=True)).data == b"DLQ 0"
