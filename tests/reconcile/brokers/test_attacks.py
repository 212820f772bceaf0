"""Attacks by an admitted team on the messages of another, at a real NATS."""

import asyncio
from typing import Any

from nats import errors
from nats.aio.client import Client
from nats.js.api import ConsumerConfig

from tests.broker_builders import orders, publisher, subscriber
from tests.brokers.nats.stage import Ears, Stage, sent
from tests.builders import NOW, Manifest, namespace, stamp
from tests.messaging import consumer, policy
from tests.patience import PATIENCE
from tests.reconcile.brokers.at_work import AtWork, at_work, market
from troth.resources.references import Ref

GUEST = Ref("lab", "guest")
THEIRS = Ref("lab", "theirs")
STREAM, DURABLE = "ORDERS", "fulfilment"
TOPIC = "prod.orders.v1"
OWNS: Manifest = {"groupPrefixes": ["fulfilment", "guest"]}
STREAMS = OWNS | {"streams": [STREAM, "GUESTS"]}


def attacked(
    nats: Stage, topic: Manifest, group: str, *more: Manifest, owns: Manifest
) -> list[Manifest]:
    """Return a shop, and an admitted team `lab` that consumes a topic in a group."""
    theirs = policy("theirs", "lab", topic=topic, consumers=[consumer("guest", group)])
    return market(
        nats,
        namespace("lab", domain="production"),
        subscriber("guest", "theirs", namespace="lab"),
        theirs,
        *more,
        more=owns,
    )


def stored(**spec: Any) -> Manifest:
    """Return the policy of the shop, whose messages a stream keeps, older than the team's."""
    made = orders(topic={"name": TOPIC, "stream": STREAM}, **spec)
    return {**made, "metadata": made["metadata"] | {"creationTimestamp": stamp(NOW)}}


async def keep_orders(nats: Stage) -> Client:
    """Create the shop's stream with a message and its durable consumer, as their owner."""
    owner = await nats.witness()
    jetstream = owner.jetstream(timeout=PATIENCE)
    await jetstream.add_stream(name=STREAM, subjects=[TOPIC], storage="memory")
    await jetstream.add_consumer(STREAM, ConsumerConfig(durable_name=DURABLE, filter_subject=TOPIC))
    await jetstream.publish(TOPIC, b"an order")
    return owner


async def may_ask(it: AtWork, who: Ref, subject: str) -> bool:
    """Return whether an identity gets an answer to a request; without a credential it gets none."""
    if ("Secret", Ref(who.namespace, f"{who.name}-main")) not in it.server.objects:
        return False
    client = await it.client(who)
    try:
        # a message keeps its own subject, by which the other style does not recognize an answer
        await client.request(subject, b"1", timeout=1, old_style=True)
    except errors.Error:
        return False
    return True


def reason(it: AtWork, who: Ref, policy_: Ref) -> str:
    return next(each for name, _, _, each in it.grants(policy_) if name == str(who))


async def test_team_cannot_read_the_durable_of_another(nats: Stage) -> None:
    await keep_orders(nats)
    theirs = {"name": "prod.guests", "stream": STREAM}
    manifests = attacked(nats, theirs, DURABLE, stored(), owns=STREAMS)
    async with at_work(nats, manifests) as it:
        next_one = f"$JS.API.CONSUMER.MSG.NEXT.{STREAM}.{DURABLE}"
        assert not await may_ask(it, GUEST, next_one)
        assert reason(it, GUEST, THEIRS) == "GroupShared"


async def test_team_cannot_read_a_stream_that_the_broker_does_not_own(nats: Stage) -> None:
    await keep_orders(nats)
    theirs = {"name": "prod.guests", "stream": STREAM}
    elsewhere = OWNS | {"streams": ["GUESTS"], "groupPrefixes": ["fulfilment"]}
    async with at_work(nats, attacked(nats, theirs, DURABLE, owns=elsewhere)) as it:
        next_one = f"$JS.API.CONSUMER.MSG.NEXT.{STREAM}.{DURABLE}"
        assert not await may_ask(it, GUEST, next_one)
        assert reason(it, GUEST, THEIRS) == "StreamNotOwned"


async def test_subscriber_cannot_join_the_queue_group_of_another(nats: Stage) -> None:
    async with at_work(nats, attacked(nats, {"name": TOPIC}, "", owns=OWNS)) as it:
        witness = await nats.witness()
        # one client for each, because the library closes all of a client's after a denied one
        ears = [(queue, Ears(await it.client(GUEST))) for queue in ("", "fulfilment", "guest")]
        for queue, each in ears:
            await each.listen(TOPIC, queue)
            await each.settle()
        await witness.publish(TOPIC, b"an order")
        await Ears(witness).settle()
        for _, each in ears:
            await each.settle()
        assert [queue for queue, each in ears if each.heard[TOPIC, queue]] == [""]


async def test_consumer_of_a_stream_cannot_send_its_messages_to_a_subscriber(nats: Stage) -> None:
    """JetStream answers to any subject, so nobody may subscribe to topics in that account."""
    await keep_orders(nats)
    manifests = attacked(nats, {"name": "prod.guests"}, "guest", stored(), owns=STREAMS)
    async with at_work(nats, manifests) as it:
        shop = await it.client(Ref("shop", "fulfilment"))
        heard: set[bytes] = set()
        if ("Secret", Ref("lab", "guest-main")) in it.server.objects:
            ears = Ears(await it.client(GUEST))
            await ears.listen("prod.guests", "guest")
            await ears.settle()
            next_one = f"$JS.API.CONSUMER.MSG.NEXT.{STREAM}.{DURABLE}"
            await shop.publish(next_one, b"1", reply="prod.guests")
            await sent(shop)
            await asyncio.sleep(0.5)
            await ears.settle()
            heard = ears.heard["prod.guests", "guest"]
        assert heard == set()
        assert reason(it, GUEST, THEIRS) == "StreamMissing"


async def test_message_sent_into_another_stream_reaches_no_consumer_of_it(nats: Stage) -> None:
    owner = await keep_orders(nats)
    jetstream = owner.jetstream(timeout=PATIENCE)
    await jetstream.add_stream(name="GUESTS", subjects=["prod.guests"], storage="memory")
    own = ConsumerConfig(durable_name="guest", filter_subject="prod.guests")
    await jetstream.add_consumer("GUESTS", own)
    theirs = {"name": "prod.guests", "stream": "GUESTS"}
    async with at_work(nats, attacked(nats, theirs, "guest", stored(), owns=STREAMS)) as it:
        shop, guest = await it.client(Ref("shop", "fulfilment")), await it.client(GUEST)
        next_one = f"$JS.API.CONSUMER.MSG.NEXT.{STREAM}.{DURABLE}"
        await shop.publish(next_one, b"1", reply="prod.guests")
        await sent(shop)
        await jetstream.publish("prod.guests", b"meant")
        subscription = await guest.jetstream(timeout=PATIENCE).pull_subscribe_bind(
            "guest", "GUESTS"
        )
        assert [each.data for each in await subscription.fetch(1, timeout=PATIENCE)] == [b"meant"]
        assert reason(it, GUEST, THEIRS) == ""


async def test_consumer_keeps_its_durable_when_another_team_names_it(nats: Stage) -> None:
    await keep_orders(nats)
    intruder = policy(
        "theirs",
        "lab",
        topic={"name": TOPIC, "stream": STREAM},
        consumers=[consumer("guest", DURABLE)],
    )
    manifests = market(nats, stored(), publisher(), more=STREAMS)
    async with at_work(nats, manifests) as it:
        for each in (
            namespace("lab", domain="production"),
            subscriber("guest", "theirs", namespace="lab"),
            intruder,
        ):
            await it.put(each)
        next_one = f"$JS.API.CONSUMER.MSG.NEXT.{STREAM}.{DURABLE}"
        assert reason(it, GUEST, THEIRS) == "GroupShared"
        assert await may_ask(it, Ref("shop", "fulfilment"), next_one)
        assert not await may_ask(it, GUEST, next_one)
