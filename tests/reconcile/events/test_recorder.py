"""The event recorder posts Events outside the reconcile loop, and only as the leader."""

import asyncio

import pytest
import structlog
from structlog.testing import capture_logs

from tests.builders import Manifest
from tests.reconcile.serving import LeaderFence
from troth.cluster.errors import ApiError
from troth.reconcile.events import recorder as module
from troth.reconcile.events.recorder import MOST, EventRecorder
from troth.reconcile.runtime.lease_fence import leading, may_write

QUOTED = "c2VjcmV0"


def event(note: str) -> Manifest:
    regarding = {"kind": "TopicPolicy", "name": "orders", "uid": "1"}
    at = "2026-01-01T00:00:00.000000Z"
    return {"regarding": regarding, "reason": "Repaired", "note": note, "eventTime": at}


class Taking:
    """Accepts Events while `going` is set."""

    def __init__(self, *refused: str) -> None:
        self.notes: list[str] = []
        self.going = asyncio.Event()
        self.going.set()
        self._refused = refused

    async def create(self, manifest: Manifest) -> Manifest:
        await self.going.wait()
        if manifest["note"] in self._refused:
            raise ApiError(403, "Forbidden", "the namespace is being terminated")
        self.notes.append(manifest["note"])
        return manifest


@pytest.fixture(autouse=True)
def _fresh_logger(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the logger: one that another test used keeps its configuration."""
    structlog.reset_defaults()
    monkeypatch.setattr(module, "log", structlog.get_logger())


async def test_events_are_posted_in_order_without_blocking() -> None:
    server = Taking()
    server.going.clear()
    recorder = EventRecorder(server.create, LeaderFence())
    for note in "abc":
        recorder.record(event(note))
    await asyncio.sleep(0)
    assert not server.notes
    server.going.set()
    await recorder.flush()
    assert server.notes == ["a", "b", "c"]
    recorder.record(event("d"))
    await recorder.flush()
    assert server.notes == ["a", "b", "c", "d"]


async def test_refused_event_is_logged_and_does_not_stop_others() -> None:
    server = Taking("a")
    recorder = EventRecorder(server.create, LeaderFence())
    with capture_logs() as logged:
        for note in "ab":
            recorder.record(event(note))
        await recorder.flush()
    assert server.notes == ["b"]
    (lost,) = logged
    assert (lost["event"], lost["lost"]) == ("event lost", "Repaired: a")


async def test_unexpected_error_is_logged_with_its_place_and_without_its_text() -> None:
    async def create(_: Manifest) -> Manifest:
        raise ValueError(QUOTED)

    recorder = EventRecorder(create, LeaderFence())
    with capture_logs() as logged:
        recorder.record(event("a"))
        await recorder.flush()
    (line,) = logged
    assert line["event"] == "event not created"
    assert line["error"].startswith("ValueError in test_recorder.py:")
    assert "exc_info" not in line
    assert QUOTED not in str(line)


async def test_events_wait_for_the_leader_fence() -> None:
    server, leader_fence = Taking(), LeaderFence(remaining=0)
    recorder = EventRecorder(server.create, leader_fence)
    recorder.record(event("a"))
    await asyncio.sleep(0.01)
    assert not server.notes
    leader_fence.remaining = 1.0
    await recorder.flush()
    assert server.notes == ["a"]


async def test_event_that_met_the_end_of_the_lease_is_posted_under_the_next() -> None:
    server, leader_fence, ends = Taking(), LeaderFence(), [True]

    async def create(manifest: Manifest) -> Manifest:
        if ends:
            ends.clear()
            leader_fence.remaining = 0
            raise ApiError(0, "", "the lease has expired")
        return await server.create(manifest)

    recorder = EventRecorder(create, leader_fence)
    recorder.record(event("a"))
    recorder.record(event("b"))
    await asyncio.sleep(0.01)
    assert not server.notes
    leader_fence.remaining = 1.0
    await recorder.flush()
    assert server.notes == ["a", "b"]


async def test_events_are_not_written_under_the_fence_of_the_first_ones_key() -> None:
    """Its shard may be handed over while the Events of others still wait."""
    shard, replica, allowed = LeaderFence(), LeaderFence(), list[bool]()

    async def create(manifest: Manifest) -> Manifest:
        allowed.append(may_write(replica))
        return manifest

    recorder = EventRecorder(create, replica)
    async with leading(shard):
        recorder.record(event("a"))
    shard.remaining = 0
    await recorder.flush()
    assert allowed == [True]


async def test_events_beyond_the_limit_are_lost_and_logged() -> None:
    server = Taking()
    recorder = EventRecorder(server.create, LeaderFence())
    with capture_logs() as logged:
        for number in range(MOST + 1):
            recorder.record(event(str(number)))
    assert [each["lost"] for each in logged] == [f"Repaired: {MOST}"]
    await recorder.close()


async def test_repeated_event_is_posted_as_a_series_at_powers_of_two() -> None:
    posted: list[Manifest] = []

    async def create(manifest: Manifest) -> Manifest:
        posted.append(manifest)
        return manifest

    recorder = EventRecorder(create, LeaderFence())
    for _ in range(100):
        recorder.record(event("a"))
    recorder.record(event("b"))
    later = {**event("a"), "eventTime": "2026-01-01T01:00:00.000000Z"}
    recorder.record(later)
    await recorder.flush()
    counts = [each.get("series", {}).get("count") for each in posted if each["note"] == "a"]
    assert counts == [None, 2, 4, 8, 16, 32, 64, None]
    assert [each["note"] for each in posted].count("b") == 1


async def test_series_that_have_ended_are_not_kept() -> None:
    recorder = EventRecorder(Taking().create, LeaderFence())
    for number in range(100):
        recorder.record(event(str(number)))
    assert len(recorder._series._known) == 100
    recorder.record({**event("later"), "eventTime": "2026-01-01T00:10:00.000000Z"})
    assert len(recorder._series._known) == 1
    await recorder.close()
