"""Reviews on a real API server: what a reviewer may do at NATS and Kafka, and when."""

import asyncio
import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from nats import errors
from nats.js.api import ConsumerConfig
from structlog.testing import capture_logs

from sandbox import faults
from sandbox.brokers.kafka import KafkaServer
from tests import messaging
from tests.broker_builders import publisher, reviewer, subscriber
from tests.brokers.kafka.clients import DENIED, DONE, MECHANISM, Client, make_topics
from tests.brokers.nats.stage import Stage as Account
from tests.cluster.brokers.market import BROKER, POLICY, TOPIC, Market
from tests.cluster.paths import faulty
from tests.cluster.person import Manifest, until
from tests.cluster.stage import IDENTITY, Stage
from tests.patience import PATIENCE
from troth.resources.references import Ref
from troth.trust.grants import Slot

LETTERS, RETRY = f"{TOPIC}.dlq", f"{TOPIC}.retry"
STREAMS = {"ORDERS": TOPIC, "DLQ": LETTERS, "RETRY": RETRY}
GROUP = "fulfilment"


class Reviewed:
    """A NATS market whose policy has a reviewer and a retry topic, all in streams."""

    def __init__(self, market: Market) -> None:
        self.market = market
        self.person, self.shop = market.stage.person, market.stage.shop
        self.reviewer = Ref(self.shop, "reviewer")

    async def open(self) -> None:
        witness = await self.market.nats.witness()
        jetstream = witness.jetstream()
        for name, subject in STREAMS.items():
            await jetstream.add_stream(
                name=name, subjects=[subject], storage="memory", allow_direct=True
            )
        for name in ("ORDERS", "RETRY"):
            config = ConsumerConfig(durable_name=GROUP, filter_subject=STREAMS[name])
            await jetstream.add_consumer(name, config)
        await jetstream.publish(LETTERS, b"a letter")
        retry = {"retry": {"topic": RETRY, "stream": "RETRY"}}
        await self.person.put(
            self.market.broker(more={"streams": sorted(STREAMS)}),
            publisher(namespace=self.shop),
            subscriber(namespace=self.shop),
            reviewer(namespace=self.shop),
            self.market.policy(
                topic={"name": TOPIC, "stream": "ORDERS"},
                consumers=[messaging.consumer("fulfilment", GROUP) | retry],
                deadLetter={
                    "topic": LETTERS,
                    "stream": "DLQ",
                    "reviewer": {"name": "reviewer"},
                },
            ),
        )
        await self.person.ready(IDENTITY, self.reviewer)
        # Until the policy knows the reviewer, its other grants alone make it Ready.
        await self.person.hears(POLICY, self.market.orders, "PeersAgree", "AllAgree", "True")
        await self.market.in_place()

    async def declare(self, user: str, manifest: Manifest) -> None:
        """Apply a review as a user."""
        who = ("--as", user, "--as-group", "system:masters")
        await self.market.kubectl(*who, "apply", "-f", "-", stdin=json.dumps(manifest))

    def review(self, **spec: Any) -> Manifest:
        return messaging.review(namespace=self.shop, approved=False, **spec)

    async def redrives(self, subject: str = RETRY) -> bool:
        """Return whether the reviewer may publish; each attempt has its own connection."""
        client = await self.market.client(self.reviewer)
        with contextlib.suppress(errors.Error):
            await client.jetstream(timeout=0.5).publish(subject, b"redriven")
            return True
        return False

    async def state(self, topic: str) -> str:
        """Return the state of the reviewer's grant to publish to a topic."""
        status = (await self.person.the(POLICY, self.market.orders))["status"]
        (found,) = (
            each["state"]
            for each in status["grants"]
            if (each["identity"], each["action"], each.get("topic"))
            == (str(self.reviewer), "Publish", topic)
        )
        return str(found)


async def test_reviewer_at_nats_redrives_only_during_an_approved_review(market: Market) -> None:
    it = Reviewed(market)
    await market.stage.run()
    await it.open()
    reading = (await market.client(it.reviewer)).jetstream(timeout=PATIENCE)
    assert (await reading.get_msg("DLQ", 1, direct=True)).data == b"a letter"
    assert (await reading.publish(LETTERS, b"a record")).stream == "DLQ"
    entries: Any = await market.messages(it.reviewer)
    (entry,) = entries
    assert entry["action"] == "Review"
    assert [each["retry"]["topic"] for each in entry["consumers"]] == [RETRY]
    assert not await it.redrives()
    assert await it.state(RETRY) == "Inactive"

    await it.declare("alice", it.review())
    assert not await it.redrives()
    approved = it.review(approval={"approvedBy": "bob"})
    await it.declare("bob", approved)
    assert await until(it.redrives, bool)
    await until(lambda: it.state(RETRY), lambda state: state == "InSync")
    assert not await it.redrives(TOPIC), "the policy's topic has other consumers"
    consuming = await market.client(market.fulfilment)
    pulled = await consuming.jetstream(timeout=PATIENCE).pull_subscribe_bind(GROUP, "RETRY")
    assert [each.data for each in await pulled.fetch(1, timeout=PATIENCE)] == [b"redriven"]
    for identity in (market.checkout, it.reviewer):
        other = (
            await (await market.client(identity)).jetstream().pull_subscribe_bind(GROUP, "RETRY")
        )
        with pytest.raises(errors.Error):
            await other.fetch(1, timeout=0.5)

    withdrawal = {"withdrawnBy": "alice", "reason": "the consumer is not fixed"}
    await it.declare("alice", it.review(approval={"approvedBy": "bob"}, withdrawal=withdrawal))
    await until(it.redrives, lambda may: not may)
    await until(lambda: it.state(RETRY), lambda state: state == "Inactive")
    await market.stage.settled()


@pytest.mark.parametrize("code", [403, 404])
@pytest.mark.long
async def test_operator_without_reviews_grants_all_but_redrives(
    stage: Stage, nats: Account, tmp_path: Path, code: int
) -> None:
    """The CRD is absent, or its watch is forbidden, at the start and later."""
    market = await Market.on(stage, nats)
    it = Reviewed(market)
    denied = faults.status(code, "NotFound" if code == 404 else "Forbidden")
    async with faulty(market.stage, tmp_path) as path:
        for verb in ("GET", "WATCH"):
            path.always(verb, "deadletterreviews", denied)
        with capture_logs() as lines:
            await market.stage.run(path.kubeconfig)
            await it.open()
        told = [each for each in lines if "reviews cannot be read" in each["event"]]
        assert len(told) == 1, "it is logged once"
        await it.declare("alice", it.review())
        await it.declare("bob", it.review(approval={"approvedBy": "bob"}))
        await market.stage.settled()
        assert not await it.redrives()

        path.well()
        assert await until(it.redrives, bool)
        for verb in ("GET", "WATCH"):
            path.always(verb, "deadletterreviews", denied)
        path.cut("deadletterreviews")
        await until(it.redrives, lambda may: not may)


@pytest.mark.long
async def test_reviews_that_can_only_be_listed_are_listed_again(
    stage: Stage, nats: Account, tmp_path: Path
) -> None:
    market = await Market.on(stage, nats)
    it = Reviewed(market)
    async with faulty(market.stage, tmp_path) as path:
        path.always("WATCH", "deadletterreviews", faults.status(403, "Forbidden"))
        await market.stage.run(path.kubeconfig)
        await it.open()
        await it.declare("alice", it.review())
        await it.declare("bob", it.review(approval={"approvedBy": "bob"}))
        assert await until(it.redrives, bool)
        await it.person.delete("DeadLetterReview", Ref(it.shop, "fix"))
        await until(it.redrives, lambda may: not may)


async def test_reviewer_at_kafka_redrives_only_during_an_approved_review(
    market: Market, kafka_server: KafkaServer
) -> None:
    it, name = Reviewed(market), market.stage.name
    origin, letters, retry = (f"{name}.{each}" for each in ("bills", "dlq", "retry"))
    await asyncio.to_thread(make_topics, kafka_server, [origin, letters, retry])
    await market.stage.run()
    declared = [
        each
        for each in market.accounts(kafka_server, more={"groupPrefixes": [f"{name}."]})
        if each["kind"] != POLICY
    ]
    group = f"{name}.books"
    policy = messaging.policy(
        market.bills.name,
        it.shop,
        at=market.log,
        environment=name,
        topic={"name": origin},
        producers=[messaging.producer("billing")],
        consumers=[messaging.consumer("books", group) | {"retry": {"topic": retry}}],
        deadLetter={"topic": letters, "reviewer": {"name": "reviewer"}},
    )
    await it.person.put(
        *declared,
        policy,
        subscriber("books", "bills", namespace=it.shop),
        reviewer("reviewer", "bills", namespace=it.shop),
    )
    await it.person.ready(BROKER, market.log)
    await it.person.ready(POLICY, market.bills)

    async def client(identity: str) -> Client:
        data = await market.data(Ref(it.shop, identity), market.log)
        slots: dict[str, Slot] = {mechanism: slot for slot, mechanism in MECHANISM.items()}
        slot = slots[data["sasl.mechanism"]]
        return Client(kafka_server, data["username"], data["password"], slot)

    worker, books, billing = [await client(each) for each in ("reviewer", "books", "billing")]
    assert await asyncio.to_thread(worker.read, letters) == DONE
    assert await asyncio.to_thread(worker.publish, letters) == DONE
    for other in (books, billing):
        assert await asyncio.to_thread(other.read, letters) in DENIED
    assert await asyncio.to_thread(books.consume, retry, group) == DONE
    assert await asyncio.to_thread(billing.consume, retry, group) in DENIED
    for topic in (origin, retry):
        assert await asyncio.to_thread(worker.publish, topic) in DENIED

    review = it.review(policy={"name": "bills"})
    await it.declare("alice", review)
    assert await asyncio.to_thread(worker.publish, retry) in DENIED
    await it.declare("bob", it.review(policy={"name": "bills"}, approval={"approvedBy": "bob"}))

    async def publish() -> str:
        return await asyncio.to_thread(worker.publish, retry)

    await until(publish, lambda outcome: outcome == DONE)
    assert await asyncio.to_thread(worker.publish, origin) in DENIED
    await it.person.delete("DeadLetterReview", Ref.of(review))
    await until(publish, lambda outcome: outcome in DENIED)
    assert await asyncio.to_thread(worker.read, letters) == DONE
