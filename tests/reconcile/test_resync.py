"""A periodic resync finds and repairs what no watch heals, and counts each difference as a bug."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast

import pytest
from structlog.testing import capture_logs

from tests import virtual_time
from tests.builders import NOW, OWN
from tests.cluster_unit.listing import Listing
from tests.every_kind import EVERY_KIND, SAMPLES, cache_of, sample, selection_of
from tests.reconcile.serving import LeaderFence, Server
from troth.cluster.api import ApiServer
from troth.cluster.errors import ApiError
from troth.cluster.watching.informer import Informer
from troth.cluster.watching.resync import PATIENCE, Resync
from troth.reconcile.loop.cache import Cache
from troth.reconcile.loop.engine import Engine
from troth.reconcile.runtime.clock import MovableClock
from troth.resources.references import Ref
from troth.world.versions import Version
from troth.world.watch_class import GIVEN
from troth.world.world import Difference, World

HOUR = 3600.0
QUOTED = "c2VjcmV0"


@dataclass
class Compared:
    """An engine, the informer that feeds it, and the resync of its selection."""

    kind: str
    listing: Listing
    world: World
    resync: Resync
    found: list[tuple[str, Difference]] = field(default_factory=list)
    restorations: list[None] = field(default_factory=list)
    """One item each time that the API server's store was found to be restored."""

    @property
    def ref(self) -> Ref:
        return Ref.of(SAMPLES[self.kind])

    @property
    def known_at(self) -> int | None:
        for version in (10, 12, 15, 30):
            if self.differs(version) is None:
                return version
        return None

    def differs(self, version: int) -> Difference | None:
        listed = Version(version, "first")
        return self.world.difference(self.kind, self.ref, listed, 10**6)

    async def compare(self) -> None:
        """Compare, with a bookmark a moment after the list."""
        comparing = asyncio.create_task(self.resync.compare())
        await asyncio.sleep(60)
        self.listing.bookmark()
        await comparing


@asynccontextmanager
async def compared(
    kind: str, *, listed: bool = True, interval: float = HOUR
) -> AsyncIterator[Compared]:
    """Start with the object of a kind at version 10, or with no object."""
    engine = Engine(
        Server(), OWN, clock=MovableClock(NOW), leader_fence=LeaderFence(), rollouts=True
    )
    listing, cache = Listing(), cache_of(kind, engine)
    if listed:
        listing.put(sample(kind, 10))
    found: list[tuple[str, Difference]] = []
    restorations: list[None] = []
    informer = Informer(cast("ApiServer", listing), selection_of(kind), cache)
    resync = Resync(
        cast("ApiServer", listing),
        informer,
        cache,
        interval=interval,
        on_difference=lambda *what: found.append(what),
        on_restored=lambda: restorations.append(None),
    )
    task = asyncio.create_task(informer.run())
    await informer.synced.wait()
    yield Compared(kind, listing, engine.world, resync, found, restorations)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await engine.close()


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_cache_in_sync_costs_one_metadata_list(kind: str) -> None:
    async def story() -> None:
        async with compared(kind) as it:
            await it.resync.compare()
            assert (it.listing.lists, it.listing.comparisons) == (1, 1)
            assert it.found == []

    virtual_time.run(story())


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_ghost_is_counted_and_forgotten(kind: str) -> None:
    async def story() -> None:
        async with compared(kind) as it:
            it.listing.drop(it.ref)  # without an event
            with capture_logs() as logs:
                await it.compare()
            assert it.found == [(selection_of(kind).kind, Difference.GHOST)]
            assert not it.world.knows(kind, it.ref)
            (entry,) = logs
            assert (entry["ref"], entry["difference"]) == (str(it.ref), "Ghost")

    virtual_time.run(story())


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_missing_object_is_counted_and_observed(kind: str) -> None:
    async def story() -> None:
        async with compared(kind, listed=False) as it:
            it.listing.put(sample(kind, 15))
            await it.compare()
            assert it.found == [(selection_of(kind).kind, Difference.MISSING)]
            assert it.known_at == 15
            await it.compare()
            assert len(it.found) == 1

    virtual_time.run(story())


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_stale_object_is_counted_and_observed(kind: str) -> None:
    async def story() -> None:
        async with compared(kind) as it:
            it.listing.put(sample(kind, 15))
            await it.compare()
            assert it.found == [(selection_of(kind).kind, Difference.STALE)]
            assert it.known_at == 15

    virtual_time.run(story())


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_wrongly_forgotten_object_is_observed_again(kind: str) -> None:
    async def story() -> None:
        async with compared(kind) as it:
            it.listing.version = 30
            it.world.forget(kind, it.ref, 20, uptime=0.0)
            await it.compare()
            assert it.found == [(selection_of(kind).kind, Difference.MISSING)]
            assert it.known_at == 10

    virtual_time.run(story())


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_object_that_went_back_shows_a_restored_store(kind: str) -> None:
    async def story() -> None:
        async with compared(kind) as it:
            it.listing.version = 30
            it.world.observe(sample(kind, 12), uptime=0.0)
            await it.compare()
            assert (it.found, len(it.restorations)) == ([], 1)

    virtual_time.run(story())


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_list_from_before_the_watch_shows_a_restored_store(kind: str) -> None:
    async def story() -> None:
        async with compared(kind) as it:
            it.listing.version = 9
            await it.resync.compare()
            assert (it.found, len(it.restorations)) == ([], 1)

    virtual_time.run(story())


# Cases that are no difference


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_late_event_is_not_counted(kind: str) -> None:
    """The list is ahead of the watch, whose event follows."""

    async def story() -> None:
        async with compared(kind) as it:
            it.listing.put(sample(kind, 15))
            comparing = asyncio.create_task(it.resync.compare())
            await asyncio.sleep(5)
            assert not comparing.done()
            it.listing.tell("MODIFIED", sample(kind, 15))
            await comparing
            assert it.found == []
            assert it.known_at == 15
            it.listing.drop(it.ref)
            comparing = asyncio.create_task(it.resync.compare())
            await asyncio.sleep(5)
            it.listing.tell("DELETED", sample(kind, it.listing.version))
            await comparing
            assert it.found == []
            assert it.listing.lists == 1

    virtual_time.run(story())


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_object_written_after_the_list_is_not_counted(kind: str) -> None:
    async def story() -> None:
        async with compared(kind, listed=False) as it:
            it.world.observe(sample(kind, 30), uptime=0.0)
            await it.resync.compare()
            assert it.found == []
            assert it.world.knows(kind, it.ref)

    virtual_time.run(story())


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_object_deleted_after_the_list_is_not_counted(kind: str) -> None:
    async def story() -> None:
        async with compared(kind) as it:
            it.world.forget_uid(kind, it.ref, "first", uptime=0.0)
            await it.resync.compare()
            assert it.found == []

    virtual_time.run(story())


def test_late_watch_is_not_awaited_forever() -> None:
    async def story() -> None:
        async with compared("NetworkPolicy") as it:
            it.listing.drop(it.ref)
            with capture_logs() as logs:
                await asyncio.wait_for(it.resync.compare(), PATIENCE + 10)
            assert it.found == []
            assert [each["event"] for each in logs] == ["watch is late, resync skipped"]

    virtual_time.run(story())


def test_object_that_changes_class_during_the_comparison_is_not_counted() -> None:
    async def story() -> None:
        async with compared(GIVEN) as it:
            it.listing.version = 20
            it.world.observe(
                {
                    **sample("Secret", 25),
                    "metadata": {**sample("Secret", 25)["metadata"], "name": it.ref.name},
                },
                uptime=0.0,
            )
            await it.resync.compare()
            assert it.found == []

    virtual_time.run(story())


# Schedule


def test_resync_runs_once_an_interval_after_the_first_sync() -> None:
    async def story() -> None:
        async with compared("NetworkPolicy") as it:
            running = asyncio.create_task(it.resync.run())
            await asyncio.sleep(HOUR / 2 - 1)
            assert it.listing.comparisons == 0
            await asyncio.sleep(99.5 * HOUR)
            assert 80 <= it.listing.comparisons <= 125
            running.cancel()
        listing = Listing()
        cache = Cache(Engine(Server(), OWN, clock=MovableClock(NOW), leader_fence=LeaderFence()))
        server = cast("ApiServer", listing)
        unsynced = Informer(server, selection_of("NetworkPolicy"), cache)
        running = asyncio.create_task(Resync(server, unsynced, cache, interval=1.0).run())
        await asyncio.sleep(HOUR)
        assert listing.comparisons == 0
        running.cancel()

    virtual_time.run(story())


@pytest.mark.parametrize("error", [ApiError(500, "InternalError", ""), KeyError("items")])
def test_failed_resync_is_retried_after_the_interval(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        async with compared("NetworkPolicy") as it:
            failures = [error]
            compare = it.resync.compare

            async def failing() -> None:
                if failures:
                    raise failures.pop()
                await compare()

            monkeypatch.setattr(it.resync, "compare", failing)
            running = asyncio.create_task(it.resync.run())
            await asyncio.sleep(4 * HOUR)
            assert it.listing.comparisons
            running.cancel()

    virtual_time.run(story())


def test_failed_repair_is_logged_with_its_place_and_without_its_text(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def story() -> None:
        async with compared("Secret", listed=False) as it:

            def fail(_: object) -> None:
                raise ValueError(QUOTED)

            monkeypatch.setattr(it.resync._cache, "repair", fail)
            it.listing.put(sample("Secret", 15))
            it.listing.bookmark()  # without the object
            with capture_logs() as logs:
                running = asyncio.create_task(it.resync.run())
                await asyncio.sleep(2 * HOUR)
                running.cancel()
            line = next(each for each in logs if each["event"] == "resync failed")
            assert line["error"].startswith("ValueError in test_resync.py:")
            assert "exc_info" not in line
            assert QUOTED not in str(logs)

    virtual_time.run(story())
