"""Broker benchmarks: the time until a broker has the declared grants, compared with its own client.

The floor makes the same changes at the broker with bulk calls of its client, and writes the same
Secrets and statuses with the plain client. It takes turns with Troth, on one control plane and one
broker.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from benchmarks.brokers.client import AnyBroker
from benchmarks.brokers.copies import Copies, copies
from benchmarks.brokers.kafka import BareKafka
from benchmarks.brokers.market import (
    ADMIN,
    BROKER,
    EXTRA,
    OTHER,
    ROOTS,
    Market,
    broker,
    policy_name,
    principal,
    secret,
    topic,
)
from benchmarks.brokers.nats import BareNats
from benchmarks.brokers.readiness import at_rest, declared
from benchmarks.fleet.topology import NAMESPACE, declarations, path
from benchmarks.harness.client import Bare, Write
from benchmarks.harness.control_plane import Counted, api_server, apply, control_plane
from benchmarks.harness.operator import running
from benchmarks.harness.process import Process
from benchmarks.harness.report import Comparison, Figure, Report
from benchmarks.harness.requests import READS, samples, writes
from benchmarks.harness.turns import timed
from sandbox import Sandbox, java
from sandbox.brokers.nats import hush
from troth.reconcile.operator import Operator
from troth.world.keys import broker_key

MARKET = Market(ring=500, principals=1000)
ROUNDS = 2
LOOKS = 20
RESTARTS = 2
CHANGES = 50
"""Number of times that one grant is added and removed."""
SETTLE_SECONDS = 0.3
FLOOR = "floor"
CHANGED = "troth_broker_changes_total"
NOTE = (
    "Identities and policies are there before the broker is declared. The floor makes the same "
    "Secrets and statuses by the bare client, and tells the broker by its own client in bulk."
)


def reports() -> Iterator[Report]:
    """Measure each broker, on a control plane of its own."""
    if reason := java.missing():
        yield Report(f"Brokers: {BareKafka.name}", note=f"Not measured: {reason}.")
    else:
        yield report(BareKafka)
    yield report(BareNats)


def report(kind: type[AnyBroker], market: Market = MARKET, changes: int = CHANGES) -> Report:
    """Measure one broker."""
    hush()
    with control_plane(NAMESPACE, FLOOR) as sandbox:
        bench = asyncio.run(_measured(sandbox, kind, market, changes))
    title = f"Brokers: {kind.name}, {market.ring} identities with {market.grants} grants"
    return Report(title, bench.rows, NOTE, bench.figures)


async def _measured(
    sandbox: Sandbox, kind: type[AnyBroker], market: Market, changes: int
) -> "_Bench":
    async with kind.connect() as at, Bare.connect(sandbox.kubeconfig) as bare:
        bench = _Bench(sandbox, bare, at, market)
        (domain, *_) = declarations(0)
        secrets = [secret(ADMIN, at.admin), secret(ROOTS, at.roots)]
        await asyncio.to_thread(apply, sandbox, [domain, *secrets])
        async with api_server(sandbox) as counted:
            await bench.converge(counted)
            async with running(counted.server) as operator:
                await bench.declare(grown=True)
                await at_rest(operator, market, grown=True)
                await bench.look(operator, counted)
        await bench.restart(changes)
    return bench


@dataclass(slots=True)
class _Bench:
    """One broker on one control plane, and its results."""

    sandbox: Sandbox
    bare: Bare
    at: AnyBroker
    market: Market
    rows: list[Comparison] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)

    async def declare(self, *, grown: bool = False) -> None:
        """Declare identities and policies without the broker: the ring, or with `grown` all."""
        manifests = (*self.market.identities(grown=grown), *self.market.topics(grown=grown))
        await self.bare.send(
            Write(path(each["kind"], object_name=each["metadata"]["name"]), each)
            for each in manifests
        )

    async def converge(self, counted: Counted) -> None:
        """Declare the broker in each round; the last one stays."""
        market, at = self.market, self.at
        troth, floor, told = [], [], []
        place = path("MessageBroker", object_name=BROKER.name)
        for left in reversed(range(ROUNDS)):
            async with running(counted.server) as operator:
                await self.declare()
                await declared(operator, market)
                await operator.engine.event_recorder.flush()
                counted.requests.clear()
                began = time.perf_counter()
                await self.bare.write(Write(place, broker(at.described)))
                await at_rest(operator, market)
                troth.append(time.perf_counter() - began)
                # Count Events too, which no step waits for.
                await operator.engine.event_recorder.flush()
                number = writes(counted.requests)
                await at.remember()
                made = await copies(self.bare, FLOOR)
                if left:
                    await self.bare.delete_all(path("MessageBroker"))
            took = await self._copied(made)
            floor.append(sum(took))
            told.append(took[1])
        what = f"{market.ring} identities, {market.grants} grants, until all are in place"
        self.rows += [
            Comparison(what, troth, floor),
            Comparison("the same, beside the broker's own bulk calls alone", troth, told),
        ]
        each = number / (market.ring + market.policies)
        self.figures.append(Figure("writes for each identity or policy", each))

    async def _copied(self, made: Copies) -> tuple[float, float, float]:
        """Write the Secrets, change the broker, write the statuses; return the seconds of each."""
        await self.bare.send(made.before)
        took = (
            await timed(lambda: self.bare.send(made.secrets)),
            await timed(self.at.tell),
            await timed(lambda: self.bare.send(made.statuses)),
        )
        for kind in ("ServiceIdentity", "TopicPolicy", "Secret"):
            await self.bare.delete_all(path(kind, FLOOR))
        await self.at.forget()
        return took

    async def look(self, operator: Operator, counted: Counted) -> None:
        """Measure checks of the broker when nothing has changed."""
        brokers, queue = operator.engine.world.brokers, operator.engine.queue

        async def look() -> None:
            brokers.note_observation(BROKER, brokers.observation(BROKER).to_observe_again())
            queue.add({broker_key(BROKER)})
            while len(queue) or brokers.observation(BROKER).busy:  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.001)

        troth, floor = [], []
        await operator.engine.event_recorder.flush()
        counted.requests.clear()
        for _ in range(LOOKS):
            troth.append(await timed(look))
            floor.append(await timed(self.at.look))
        what = f"a look at {self.market.principals} principals, nothing changed"
        self.rows.append(Comparison(what, troth, floor))
        reads = sum(number for (verb, _), number in counted.requests.items() if verb in READS)
        self.figures += [
            Figure("reads for a look: the admin's Secret, the roots", reads / LOOKS, aim=2),
            Figure(f"writes for {LOOKS} looks", writes(counted.requests), aim=0),
        ]

    async def restart(self, changes: int) -> None:
        """Measure restarts of the operator as a process.

        After the last restart, measure changes of one grant.
        """
        for left in reversed(range(RESTARTS)):
            async with Process.run(self.sandbox) as process:
                settled = await process.settled(self.market.principals)
                await process.still()
                asked, told = await process.requests(), await process.metrics()
                memory = process.memory()
                if not left:
                    await self._change(changes)
        changed = sum(sample.value for sample in samples(told, CHANGED))
        principals = self.market.principals
        self.figures += [
            Figure(f"a restart with {principals} principals, until all is visited", settled, "s"),
            Figure("writes at a restart", writes(asked), aim=0),
            Figure("changes at the broker at a restart", changed, aim=0),
            Figure(f"memory with {principals} principals, at rest", memory.resident, "MB"),
            Figure("the peak", memory.peak, "MB"),
        ]

    async def _change(self, changes: int) -> None:
        number = self.market.toggled
        times: dict[tuple[str, bool], list[float]] = defaultdict(list)
        for live in (False, True) * changes:
            manifest = self.market.policy(number, extra=live, grown=True)
            declares = Write(path("TopicPolicy", object_name=policy_name(number)), manifest)
            async with self.at.effect(principal(EXTRA), topic(number), live=live) as seen:
                began = time.perf_counter()
                await self.bare.write(declares)
                await seen()
                times["troth", live].append(time.perf_counter() - began)
            await asyncio.sleep(SETTLE_SECONDS)
            # in the opposite direction, because only an existing grant can be removed
            elsewhere = {**manifest, "metadata": {"name": policy_name(number)}}
            async with self.at.effect(OTHER, topic(number), live=not live) as seen:
                began = time.perf_counter()
                place = path("TopicPolicy", FLOOR, policy_name(number))
                await self.bare.write(Write(place, elsewhere))
                await self.at.change(topic(number), live=not live)
                await seen()
                times["floor", not live].append(time.perf_counter() - began)
            await asyncio.sleep(SETTLE_SECONDS)
        for live, what in ((True, "added"), (False, "taken back")):
            among = f"one grant {what} among {self.market.policies} policies"
            self.rows.append(Comparison(among, times["troth", live], times["floor", live]))
