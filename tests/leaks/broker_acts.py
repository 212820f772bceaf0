"""Actions and faults with credentials of brokers during a run."""

import asyncio
import base64
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

from sandbox.brokers.kafka import KafkaServer
from sandbox.brokers.nats import NatsServer
from tests import builders
from tests.builders import stamp
from tests.cluster.brokers.market import BROKER, POLICY, Market
from tests.cluster.person import Manifest, until
from tests.cluster.stage import IDENTITY
from tests.leaks.acts import MISLAID, in_a_secret, unlike
from tests.leaks.run import Run
from troth.resources.references import Ref
from troth.world.index.brokers import credential_ref

LOOK = "10s"
"""Interval of drift checks: the shortest allowed."""


@dataclass
class Brokers:
    """NATS and Kafka brokers in a run."""

    run: Run
    market: Market
    nats: NatsServer
    kafka: KafkaServer

    @property
    def credentials(self) -> list[Ref]:
        """Secrets with the clients' credentials of each broker."""
        market = self.market
        return [
            credential_ref(market.checkout, market.main),
            credential_ref(market.billing, market.log),
        ]


async def everything_is_granted(brokers: Brokers) -> None:
    """Create two brokers, each with a policy, and their clients."""
    market, person = brokers.market, brokers.market.stage.person
    await market.open(
        market.broker(driftCheck=LOOK), *market.accounts(brokers.kafka, driftCheck=LOOK)
    )
    for kind, ref in ((BROKER, market.log), (POLICY, market.bills)):
        await person.ready(kind, ref)
    await market.works()


async def credentials_are_replaced(brokers: Brokers) -> None:
    """Rotate one credential at each broker; old and new are both valid for a while."""
    person = brokers.market.stage.person
    before = [await person.the("Secret", each) for each in brokers.credentials]
    for identity in (brokers.market.checkout, brokers.market.billing):
        asked = stamp(datetime.now(UTC) + timedelta(seconds=1))  # later than the credential
        named = (IDENTITY, identity.name, identity.namespace)
        await person.put(builders.rotation(*named, requestedAt=asked))
    for old in before:
        await person.sees("Secret", Ref.of(old), partial(is_replacement, old))


def is_replacement(old: Manifest, seen: Manifest) -> bool:
    """Return whether a Secret has a new credential, and no other beside it."""
    return seen["data"].keys() == old["data"].keys() and all(
        seen["data"][key] != old["data"][key]
        for key in ("user.creds", "password")
        if key in seen["data"]
    )


async def people_mislay_credentials(brokers: Brokers) -> None:
    """Put keys into Secrets of clients, foreign Secrets and Secrets of administrators."""
    market, person = brokers.market, brokers.market.stage.person
    creds, password = [await person.the("Secret", each) for each in brokers.credentials]
    for place, data in (
        (brokers.credentials[0], {"user.creds": MISLAID, "troth.json": MISLAID}),
        (
            brokers.credentials[0],
            {"user.creds": base64.b64decode(creds["data"]["user.creds"])[:-90]},
        ),
        (brokers.credentials[1], {"password": b"a password of somebody's own"}),
        (brokers.credentials[1], {"troth.json": base64.b64decode(password["data"]["password"])}),
    ):
        given = in_a_secret(data)
        await person.edit("Secret", place, {"data": given})
        await person.sees("Secret", place, unlike(given))
    good: list[Manifest] = []
    spoilt: tuple[tuple[str, Ref, dict[str, bytes]], ...] = (
        ("nats-admin", market.main, {"operator.nk": brokers.nats.keys.system.seed}),
        ("kafka-admin", brokers.market.log, {"tls.key": MISLAID}),
    )
    for name, ref, data in spoilt:
        place = Ref(market.space, name)
        good.append(await person.the("Secret", place))
        await person.edit("Secret", place, {"data": in_a_secret(data)})
        await market.hears(BROKER, ref, "Ready", "AdminRefused")
        await people_look(brokers)
    for each in good:
        await person.edit("Secret", Ref.of(each), {"data": each["data"]})


async def brokers_go_away(brokers: Brokers) -> None:
    """Stop a broker, run the commands, and start it again."""
    market = brokers.market
    await asyncio.to_thread(brokers.nats.stop, grace=0)
    try:
        await market.hears(BROKER, market.main, "Ready", "Unreachable")
        await people_look(brokers)
    finally:
        await asyncio.to_thread(brokers.nats.restart)
    await market.stage.person.ready(BROKER, market.main)


async def refusals_quote(brokers: Brokers) -> None:
    """Reject writes of Secrets and ledgers with messages that quote them."""
    market, wire = brokers.market, brokers.run.wire
    for code in (403, 422):
        wire.path.always("PATCH", "secrets", wire.echo(code))
        for resource in ("configmaps", "messagebrokers", "topicpolicies", "serviceidentities"):
            wire.path.once("PATCH", resource, wire.echo(code))
        for place in brokers.credentials:
            await market.stage.person.delete("Secret", place)
        await market.hears(IDENTITY, brokers.market.billing, "CredentialsIssued", "WriteRefused")
        wire.be_well()
        for place in brokers.credentials:
            await market.stage.person.sees("Secret", place)
        await market.in_place()


async def people_look(brokers: Brokers) -> None:
    """Run every command with every right, and scrape the metrics."""
    run = brokers.run
    await asyncio.gather(*(run.ask("status", "-A", "-o", output) for output in ("text", "json")))
    for log_format in run.processes:
        await run.scrape(log_format)


async def everything_is_revoked(brokers: Brokers) -> None:
    """Delete the policies and the brokers."""
    market, person = brokers.market, brokers.market.stage.person
    for kind, namespace in ((POLICY, market.stage.shop), (BROKER, market.space)):
        await person.delete(kind, Ref(namespace, ""))
        await until(partial(person.all, kind, namespace), lambda left: not left)
