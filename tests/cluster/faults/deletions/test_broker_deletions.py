"""Users delete a broker's resources before Troth has the answer to its write for them.

The finalizer that Troth just wrote keeps them until everything is revoked. Nothing stays: no grant,
no credential, no ledger, and no ghost of a resource. Declared again, everything works.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

from hypothesis import settings

from tests.broker_builders import publisher, subscriber
from tests.brokers.nats.stage import Stage as Account
from tests.cluster.brokers.market import BROKER, POLICY, Market
from tests.cluster.crashes.crash_points import CrashPoint
from tests.cluster.crashes.play import NO_CRASH
from tests.cluster.faults.deletions.deletions import (
    DeletingPath,
    Deletion,
    EachOnce,
    Order,
    place_of,
)
from tests.cluster.person import LONG
from tests.cluster.stage import IDENTITY, Stage
from troth.world.index.brokers import credential_ref
from troth.world.observation.ledger import ledger_ref

THOROUGH = settings.get_current_profile_name() == "thorough"
MOST = 60
"""Number of writes that no declaration of a market exceeds."""


def points() -> Iterator[CrashPoint]:
    """Yield the writes that are followed by a deletion; `make test` takes one of each object."""
    yield EachOnce()
    if THOROUGH:
        yield EachOnce(statuses=True)
        yield from map(CrashPoint, range(1, MOST))


async def test_broker_resources_deleted_before_an_answer_leave_nothing(
    stage: Stage, nats: Account, tmp_path: Path
) -> None:
    person, market = stage.person, await Market.on(stage, nats)
    manifests = (
        *(market.broker(), market.policy()),
        *(publisher(namespace=stage.shop), subscriber(namespace=stage.shop)),
    )
    async with DeletingPath(stage.kubeconfig, tmp_path) as path, stopping(stage):
        path.deletion = Deletion(Order.ANSWER, owner=True)
        path.joined_by(person, lambda _place, _version: True)
        await stage.run(path.kubeconfig)
        for point in points():
            path.set_crash_point(point)
            await person.put(*manifests)
            await stage.settled()
            if not path.crashes and len(path.written) < point.write:
                break
            deleted = [place_of(each) for each in path.deleted]
            for place in deleted:
                await person.misses(*place, LONG)
            path.set_crash_point(NO_CRASH)
            await person.put(*(person.applied[place] for place in deleted))
            await market.in_place()
            await market.works()
            await end(market)
    assert not market.forbidden


@asynccontextmanager
async def stopping(stage: Stage) -> AsyncIterator[None]:
    """Stop the operators in the end, before their path to the API server."""
    try:
        yield
    finally:
        for copy in stage.copies:
            await copy.stop()


async def end(market: Market) -> None:
    """Delete everything, and assert that nothing stays."""
    stage, person = market.stage, market.stage.person
    places = ((POLICY, market.orders), (BROKER, market.main))
    identities = (market.checkout, market.fulfilment)
    for kind, ref in (*places, *((IDENTITY, each) for each in identities)):
        await person.delete(kind, ref)
    for kind, ref in places:
        await person.misses(kind, ref, LONG)
    for each in identities:
        await person.misses("Secret", credential_ref(each, market.main), LONG)
    await stage.settled()
    assert await market.signing_keys() == 0
    assert await person.get("ConfigMap", ledger_ref(stage.own, market.main)) is None
