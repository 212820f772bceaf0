"""Statuses: rarely under a flood, at once at a change of phase, and never lost."""

import asyncio
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from tests import virtual_time
from tests.builders import Manifest
from troth.cluster.errors import ApiError
from troth.resources.references import Ref
from troth.review.objects.statuses import INTERVAL, Object, StatusWriter

REVIEW = Object("DeadLetterReview", Ref("shop", "fix"), "uid")
POLICY = Object("TopicPolicy", Ref("shop", "orders"), "policy-uid")


class Server:
    """Statuses with the times of their writes."""

    def __init__(self) -> None:
        self.writes: list[tuple[float, Manifest]] = []
        self.faults: list[ApiError] = []

    async def apply_status(self, manifest: Manifest) -> Manifest:
        if self.faults:
            raise self.faults.pop(0)
        self.writes.append((asyncio.get_running_loop().time(), manifest))
        return manifest

    def of(self, place: Object) -> list[tuple[float, Any]]:
        return [(at, each["status"]) for at, each in self.writes if each["kind"] == place.kind]


def in_time(story: Callable[[StatusWriter, Server], Any]) -> Server:
    """Run a story in virtual time."""
    server = Server()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        writer = StatusWriter(server, monotonic=loop.time)
        running = asyncio.create_task(writer.run())
        await story(writer, server)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    virtual_time.run(main())
    return server


def test_flood_is_written_once_in_ten_seconds_for_each_object() -> None:
    async def story(writer: StatusWriter, _: Server) -> None:
        for number in range(1000):
            writer.offer(REVIEW, {"count": number})
            writer.offer(POLICY, {"count": -number})
            await asyncio.sleep(0.1)
        await asyncio.sleep(2 * INTERVAL)

    server = in_time(story)
    for place in (REVIEW, POLICY):
        times = [at for at, _ in server.of(place)]
        assert len(times) >= 10
        assert min(later - at for at, later in pairwise(times)) > INTERVAL - 0.001
    assert server.of(REVIEW)[-1][1] == {"count": 999}


def test_change_of_phase_is_written_at_once_and_last() -> None:
    async def story(writer: StatusWriter, server: Server) -> None:
        writer.offer(REVIEW, {"count": 1})
        await asyncio.sleep(1)
        writer.offer(REVIEW, {"count": 2})
        assert await writer.put(REVIEW, {"phase": "Completed"})
        assert server.of(REVIEW)[-1] == (1.0, {"phase": "Completed"})
        await asyncio.sleep(5 * INTERVAL)

    assert [each for _, each in in_time(story).of(REVIEW)] == [
        {"count": 1},
        {"phase": "Completed"},
    ]


def test_same_status_is_not_written_again() -> None:
    async def story(writer: StatusWriter, _: Server) -> None:
        for _number in range(5):
            writer.offer(REVIEW, {"count": 1})
            await asyncio.sleep(2 * INTERVAL)

    assert len(in_time(story).writes) == 1


def test_failed_write_is_tried_again_with_the_newest_status() -> None:
    async def story(writer: StatusWriter, server: Server) -> None:
        server.faults = [ApiError(503, "ServiceUnavailable", "")] * 3
        writer.offer(REVIEW, {"count": 1})
        await asyncio.sleep(1)
        writer.offer(REVIEW, {"count": 2})
        await asyncio.sleep(20 * INTERVAL)

    assert [each for _, each in in_time(story).of(REVIEW)] == [{"count": 2}]


def test_change_of_phase_waits_for_an_api_server_that_fails() -> None:
    async def story(writer: StatusWriter, server: Server) -> None:
        server.faults = [ApiError(0, "ClientError", ""), ApiError(500, "InternalError", "")]
        assert await writer.put(REVIEW, {"phase": "Running"})

    assert [each for _, each in in_time(story).of(REVIEW)] == [{"phase": "Running"}]


def test_object_that_was_deleted_or_made_again_is_not_written() -> None:
    async def story(writer: StatusWriter, server: Server) -> None:
        server.faults = [ApiError(404, "NotFound", ""), ApiError(409, "Conflict", "")]
        assert not await writer.put(REVIEW, {"phase": "Running"})
        assert not await writer.put(REVIEW, {"phase": "Running"})

    assert not in_time(story).writes


def test_status_of_before_a_lost_lease_is_not_written_after_it() -> None:
    server = Server()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        writer = StatusWriter(server, monotonic=loop.time)
        running = asyncio.create_task(writer.run())
        await writer.put(REVIEW, {"phase": "Running"})
        writer.offer(REVIEW, {"phase": "Running", "count": 256})
        await asyncio.sleep(0.1)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        running = asyncio.create_task(writer.run())  # another replica has completed the review
        await asyncio.sleep(0.1)
        writer.offer(POLICY, {"count": 1})
        await asyncio.sleep(5 * INTERVAL)
        assert await writer.put(REVIEW, {"phase": "Running"})  # it was written over meanwhile
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    virtual_time.run(main())
    assert [each for _, each in server.of(REVIEW)] == [{"phase": "Running"}] * 2
    assert [each for _, each in server.of(POLICY)] == [{"count": 1}]


def test_deleted_objects_are_forgotten() -> None:
    async def story(writer: StatusWriter, _: Server) -> None:
        for number in range(100):
            await writer.put(Object("DeadLetterReview", Ref("shop", str(number)), f"{number}"), {})
        writer.offer(POLICY, {"count": 1})
        await asyncio.sleep(1)
        writer.offer(REVIEW, {"count": 1})
        writer.keep({POLICY.uid})
        assert list(writer._known) == [POLICY]
        await asyncio.sleep(2 * INTERVAL)
        writer.offer(POLICY, {"count": 2})
        await asyncio.sleep(2 * INTERVAL)

    server = in_time(story)
    assert {"count": 1} not in [each for _, each in server.of(REVIEW)]
    assert [each for _, each in server.of(POLICY)] == [{"count": 1}, {"count": 2}]


def test_object_that_the_api_server_lacks_is_forgotten() -> None:
    async def story(writer: StatusWriter, server: Server) -> None:
        server.faults = [ApiError(404, "NotFound", "")]
        assert not await writer.put(REVIEW, {"phase": "Running"})
        assert not writer._known

    in_time(story)


def test_write_names_the_object_by_its_uid() -> None:
    async def story(writer: StatusWriter, _: Server) -> None:
        await writer.put(REVIEW, {"phase": "Running"})

    ((_, manifest),) = in_time(story).writes
    assert manifest["metadata"] == {"name": "fix", "namespace": "shop", "uid": "uid"}
