"""The broker benchmark's grants take effect, and its floor makes the same changes."""

import asyncio
from collections import Counter

from benchmarks.brokers.client import AnyBroker
from benchmarks.brokers.kafka import BareKafka
from benchmarks.brokers.market import (
    ADMIN,
    BROKER,
    EXTRA,
    OTHER,
    ROOTS,
    Market,
    broker,
    principal,
    secret,
    topic,
)
from benchmarks.brokers.nats import BareNats
from benchmarks.fleet.topology import NAMESPACE, Manifest, declarations
from sandbox.brokers.kafka import KafkaServer
from tests.builders import namespace
from tests.patience import PATIENCE
from tests.reconcile.brokers.at_work import Working, working
from tests.reconcile.serving import Server

MARKET = Market(ring=4, principals=6)


def declared(at: AnyBroker) -> list[Manifest]:
    (domain, *_) = declarations(0)
    owner = [secret(ADMIN, at.admin), secret(ROOTS, at.roots), broker(at.described)]
    return [namespace(NAMESPACE), domain, *owner, *MARKET.identities(), *MARKET.topics()]


def states(it: Working) -> Counter[str]:
    listed = (each for kind, each in it.server.objects if kind == "TopicPolicy")
    return Counter(state for policy in listed for *_, state, _ in it.grants(policy))


async def test_all_grants_are_in_sync_and_one_is_added_and_removed() -> None:
    async with BareNats.connect() as at, working(Server(declared(at))) as it:
        assert states(it) == {"InSync": MARKET.grants + 1}
        for manifest in (*MARKET.identities(grown=True), *MARKET.topics(grown=True)):
            await it.put(manifest)
        grown = MARKET.grants + MARKET.principals - MARKET.ring + 1
        assert states(it) == {"InSync": grown}
        for extra in (False, True):
            async with at.effect(principal(EXTRA), topic(MARKET.toggled), live=extra) as seen:
                await it.put(MARKET.policy(MARKET.toggled, extra=extra, grown=True))
                await asyncio.wait_for(seen(), PATIENCE)
            assert states(it)["InSync"] == grown - (not extra)


async def test_floor_makes_and_removes_the_same_grants() -> None:
    async with BareNats.connect() as at, working(Server(declared(at))) as it:
        await at.remember()
        made = await at.account()
        await it.delete("MessageBroker", BROKER)
        assert not (await at.account())["nats"].get("signing_keys")
        await at.tell()
        assert (await at.account())["nats"] == made["nats"]
        await at.forget()
        assert not (await at.account())["nats"].get("signing_keys")


async def test_floor_adds_and_removes_one_grant_at_kafka(
    kafka_server: KafkaServer, mine: str
) -> None:
    at = BareKafka(kafka_server)
    for live in (True, False):
        async with at.effect(OTHER, mine, live=live) as seen:
            await at.change(mine, live=live)
            await asyncio.wait_for(seen(), PATIENCE)
