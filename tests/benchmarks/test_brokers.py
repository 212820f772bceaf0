"""What is measured of brokers is what is said: the market is live, and the floor does the same."""

import asyncio
from collections import Counter

from benchmarks.bare_broker import AnyBroker
from benchmarks.bare_kafka import BareKafka
from benchmarks.bare_nats import BareNats
from benchmarks.market import (
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
from benchmarks.topology import NAMESPACE, Manifest, declarations
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


async def test_every_grant_of_the_market_is_in_place_and_one_comes_and_goes() -> None:
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


async def test_the_floor_makes_what_troth_made_and_takes_it_back() -> None:
    async with BareNats.connect() as at, working(Server(declared(at))) as it:
        await at.remember()
        made = await at.account()
        await it.delete("MessageBroker", BROKER)
        assert not (await at.account())["nats"].get("signing_keys")
        await at.tell()
        assert (await at.account())["nats"] == made["nats"]
        await at.forget()
        assert not (await at.account())["nats"].get("signing_keys")


async def test_at_kafka_the_floor_gives_one_grant_and_takes_it_back(
    kafka_server: KafkaServer, mine: str
) -> None:
    at = BareKafka(kafka_server)
    for live in (True, False):
        async with at.effect(OTHER, mine, live=live) as seen:
            await at.change(mine, live=live)
            await asyncio.wait_for(seen(), PATIENCE)
