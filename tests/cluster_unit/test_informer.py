"""An informer's sink converges to the server despite errors, delays and missed events."""

import asyncio
import copy
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import Manifest, namespace
from tests.virtual_time import run
from troth.cluster.api import ApiServer
from troth.cluster.errors import ApiError
from troth.cluster.selection import Selection
from troth.cluster.watching.backoff import Backoff
from troth.cluster.watching.informer import OLD_LISTS, TIME_SLICE, Informer
from troth.resources.references import Ref

SELECTION = Selection("Namespace")


@dataclass
class Watched:
    """Namespaces with a history, served in pages and as a watch."""

    page: int = 2
    version: int = 10
    objects: dict[str, Manifest] = field(default_factory=dict)
    history: list[tuple[int, str, Manifest]] = field(default_factory=list)
    compacted: int = 0
    faults: list[ApiError | None] = field(default_factory=list)
    lists: int = 0
    watches: list[str] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    cut: bool = False
    unencodable: str = ""
    """Name of an object at whose events a watch ends without an error."""
    past: list[tuple[int, dict[str, Manifest]]] = field(default_factory=list)
    """Snapshots with which the next lists are answered."""

    def snapshot(self) -> tuple[int, dict[str, Manifest]]:
        return self.version, copy.deepcopy(self.objects)

    def put(self, name: str, **labels: str) -> None:
        stored = namespace(name, **labels)
        self.version += 1
        stored["metadata"]["resourceVersion"] = str(self.version)
        known = name in self.objects
        self.objects[name] = stored
        self._tell("MODIFIED" if known else "ADDED", stored)

    def drop(self, name: str) -> None:
        self.version += 1
        gone = self.objects.pop(name)
        gone["metadata"]["resourceVersion"] = str(self.version)
        self._tell("DELETED", gone)

    def forget_history(self) -> None:
        """Compact: a watch from before now is answered with 410."""
        self.compacted = self.version
        self.history.clear()

    def _tell(self, type_: str, manifest: Manifest) -> None:
        self.history.append((self.version, type_, copy.deepcopy(manifest)))
        self.changed.set()

    def fail(self) -> None:
        """Fail if a fault is next; None lets one step pass."""
        fault = self.faults.pop(0) if self.faults else None
        if fault is not None:
            raise fault

    async def pages(self, selection: Selection) -> AsyncIterator[Manifest]:
        assert selection.kind == "Namespace"
        self.lists += 1
        number, objects = self.past.pop(0) if self.past else (self.version, self.objects)
        version, items = str(number), [*objects.values()]
        for start in range(0, max(len(items), 1), self.page):
            self.fail()
            part = [copy.deepcopy(item) for item in items[start : start + self.page]]
            for item in part:
                del item["kind"]
                del item["apiVersion"]
            yield {"items": part, "metadata": {"resourceVersion": version}}

    async def watch(
        self,
        selection: Selection,
        resource_version: str,
        silence: float,
        on_open: Callable[[], None],
    ) -> AsyncIterator[Manifest]:
        assert selection.kind == "Namespace"
        assert silence > 60, "bookmarks come once a minute"
        self.watches.append(resource_version)
        self.fail()
        on_open()
        seen = int(resource_version)
        while True:
            if seen < self.compacted:
                raise ApiError(410, "Expired", "too old resource version")
            for version, type_, manifest in list(self.history):
                if version > seen:
                    if manifest["metadata"]["name"] == self.unencodable:
                        return
                    seen = version
                    yield {"type": type_, "object": copy.deepcopy(manifest)}
                    self.fail()
            if self.cut:
                return
            self.changed.clear()
            await self.changed.wait()
            self.fail()


@dataclass
class Sink:
    """A sink that remembers what is there."""

    objects: dict[str, Manifest] = field(default_factory=dict)
    forgets: str = "Namespace"

    def observe(self, manifest: Manifest) -> None:
        assert manifest["kind"] == "Namespace"
        self.objects[manifest["metadata"]["name"]] = manifest

    def forget(self, kind: str, ref: Ref, version: int) -> None:
        assert kind == self.forgets
        assert version
        self.objects.pop(ref.name, None)

    def known(self, selection: Selection) -> set[Ref]:
        assert (selection.subset or selection.kind) == self.forgets
        return {Ref("", name) for name in self.objects}

    def is_past(self, manifest: Manifest, version: int) -> bool:
        known = self.objects.get(manifest["metadata"]["name"])
        number = int(manifest["metadata"]["resourceVersion"])
        return known is not None and number < int(known["metadata"]["resourceVersion"]) <= version

    def listed(self, selection: Selection, version: int) -> None:
        assert selection.kind == "Namespace"
        assert version


@dataclass
class Scene:
    server: Watched
    sink: Sink
    informer: Informer
    failures: list[int]
    restored: list[int]

    def agrees(self) -> bool:
        versions = [
            {
                name: (each["metadata"]["resourceVersion"], each["metadata"]["labels"])
                for name, each in objects.items()
            }
            for objects in (self.server.objects, self.sink.objects)
        ]
        return versions[0] == versions[1]


def scene(*names: str, selection: Selection = SELECTION) -> Scene:
    forgets = selection.subset or selection.kind
    server, sink, failures = Watched(), Sink(forgets=forgets), list[int]()
    restored: list[int] = []
    for name in names:
        server.put(name)
    informer = Informer(
        cast("ApiServer", server),
        selection,
        sink,
        lambda _, error: failures.append(error.status),
        on_restored=lambda: restored.append(server.version),
    )
    return Scene(server, sink, informer, failures, restored)


async def settle(seconds: float = 120) -> None:
    await asyncio.sleep(seconds)


def test_paged_list_and_following_changes_are_observed() -> None:
    async def story() -> None:
        it = scene("a", "b", "c")
        task = asyncio.create_task(it.informer.run())
        await it.informer.synced.wait()
        assert it.agrees()
        it.server.put("d")
        it.server.put("a", turn="2")
        it.server.drop("b")
        await settle()
        assert it.agrees()
        assert (it.server.lists, len(it.server.watches)) == (1, 1)
        task.cancel()

    run(story())


@dataclass
class Handing(Watched):
    """A server whose last page stays in view."""

    handed: list[Manifest] = field(default_factory=list)

    async def pages(self, selection: Selection) -> AsyncIterator[Manifest]:
        async for page in super().pages(selection):
            self.handed = page["items"]
            yield page


@dataclass
class Counting(Sink):
    """A sink that counts the items that a page still has while one is observed."""

    server: Handing = field(default_factory=Handing)
    left: list[int] = field(default_factory=list)

    def observe(self, manifest: Manifest) -> None:
        super().observe(manifest)
        self.left.append(len(self.server.handed))


def test_a_page_lets_go_of_each_item_before_the_next_is_observed() -> None:
    async def story() -> None:
        sink = Counting()
        for name in ("a", "b", "c"):
            sink.server.put(name)
        sink.server.page = 3
        task = asyncio.create_task(Informer(cast("ApiServer", sink.server), SELECTION, sink).run())
        await settle()
        task.cancel()
        assert (list(sink.objects), sink.left) == (["a", "b", "c"], [2, 1, 0])

    run(story())


@dataclass
class Slow(Sink):
    """A sink that takes longer for each object than an informer may take at once."""

    def observe(self, manifest: Manifest) -> None:
        super().observe(manifest)
        time.sleep(TIME_SLICE)


async def test_other_tasks_run_between_slow_objects() -> None:
    """Within a page as within a burst of the watch."""
    names = [f"n{number}" for number in range(8)]
    it = scene(*names)
    it.server.page = len(names)
    sink = Slow()
    informer = Informer(cast("ApiServer", it.server), SELECTION, sink)
    seen: list[int] = []

    async def look() -> None:
        while len(sink.objects) < 2 * len(names):
            if not seen or seen[-1] != len(sink.objects):
                seen.append(len(sink.objects))
            await asyncio.sleep(0)

    task = asyncio.create_task(informer.run())
    looking = asyncio.create_task(look())
    await informer.synced.wait()
    for name in names:
        it.server.put(f"{name}-later")
    await looking
    task.cancel()
    assert seen[-2 * len(names) + 1 :] == list(range(1, 2 * len(names)))


def test_informer_is_synced_after_the_whole_list() -> None:
    async def story() -> None:
        it = scene("a", "b", "c")
        it.server.faults = [ApiError(500, "InternalError", "")]
        task = asyncio.create_task(it.informer.run())
        await asyncio.sleep(0)
        assert not it.informer.synced.is_set()
        await settle()
        assert it.informer.synced.is_set()
        assert it.failures == [500]
        task.cancel()

    run(story())


def test_lost_watch_resumes_at_its_version() -> None:
    async def story() -> None:
        it = scene("a")
        task = asyncio.create_task(it.informer.run())
        await it.informer.synced.wait()
        it.server.put("b")
        await settle(1)
        it.server.faults = [ApiError(0, "ClientError", "")]
        it.server.put("c")
        await settle()
        assert it.agrees()
        assert it.server.lists == 1
        assert len(it.server.watches) == 2
        task.cancel()

    run(story())


def test_object_deleted_in_a_gap_is_forgotten() -> None:
    """The grant that would stay: a watch that answers 410 says nothing of what it missed."""

    async def story() -> None:
        it = scene("a", "b", "c")
        task = asyncio.create_task(it.informer.run())
        await it.informer.synced.wait()
        it.server.drop("b")
        it.server.forget_history()
        it.server.put("d")
        await settle()
        assert it.agrees()
        assert it.server.lists == 2
        task.cancel()

    run(story())


def test_old_list_is_asked_for_again() -> None:
    """One answer of the past, as of an API server that lost contact to the others."""

    async def story() -> None:
        it = scene("a", "b")
        task = asyncio.create_task(it.informer.run())
        await it.informer.synced.wait()
        it.server.past.append(it.server.snapshot())
        it.server.drop("a")
        await settle(1)
        it.server.faults = [ApiError(410, "Expired", "")]
        it.server.changed.set()
        await settle()
        assert it.agrees()
        assert (it.server.past, it.restored) == ([], [])
        task.cancel()

    run(story())


@pytest.mark.parametrize("version", [None, 1000], ids=["lower versions", "higher versions"])
def test_old_lists_show_a_restored_store(version: int | None) -> None:
    """A restore can raise the revision, so that a list is recent and its objects are not."""

    async def story() -> None:
        it = scene("a", "b")
        version_then, objects_then = it.server.snapshot()
        task = asyncio.create_task(it.informer.run())
        await it.informer.synced.wait()
        it.server.put("a", changed="since")
        await settle(1)
        it.server.objects, it.server.version = objects_then, version or version_then
        it.server.history.clear()
        it.server.faults = [ApiError(410, "Expired", "")]
        it.server.changed.set()
        await settle()
        assert it.server.lists >= 1 + OLD_LISTS
        assert it.restored
        task.cancel()

    run(story())


def test_object_that_leaves_a_selection_is_forgotten_in_its_watch_class() -> None:
    """Another selection of the same kind may have it now, and must not lose it."""

    async def story() -> None:
        it = scene("a", "b", "c", selection=Selection("Namespace", subset="Namespace of schemas"))
        task = asyncio.create_task(it.informer.run())
        await it.informer.synced.wait()
        it.server.drop("a")
        await settle()
        assert it.agrees()
        it.server.drop("b")
        it.server.forget_history()
        await settle()
        assert it.agrees()
        task.cancel()

    run(story())


def test_object_of_a_partial_list_that_is_deleted_is_forgotten() -> None:
    async def story() -> None:
        it = scene("a", "b", "c")
        task = asyncio.create_task(it.informer.run())
        original = it.server.fail

        def fail_on_the_second_page() -> None:
            if it.server.lists == 1 and "a" in it.sink.objects:
                it.server.drop("a")
                raise ApiError(410, "Expired", "the continue token is too old")
            original()

        it.server.fail = fail_on_the_second_page  # type: ignore[method-assign]
        await settle()
        assert it.agrees()
        task.cancel()

    run(story())


@pytest.mark.parametrize("how", ["410", "cut"])
def test_watch_that_ends_at_once_backs_off(how: str) -> None:
    async def story() -> None:
        it = scene("a")
        it.server.cut = how == "cut"
        if how == "410":
            it.server.faults = [None, ApiError(410, "Expired", "")] * 400
        task = asyncio.create_task(it.informer.run())
        await asyncio.sleep(60)
        assert len(it.server.watches) < 200
        task.cancel()

    run(story())


def test_watch_that_ends_at_an_event_of_the_server_is_followed_by_a_list() -> None:
    """The API server ends a watch, without an error, at an event that it cannot encode."""

    async def story() -> None:
        it = scene("a", "b")
        it.server.unencodable = "deep"
        task = asyncio.create_task(it.informer.run())
        await settle()
        it.server.put("deep")
        it.server.put("later")
        it.server.drop("a")
        await settle()
        assert it.agrees()
        assert it.server.lists == 2
        assert it.failures == [0]
        it.server.put("last")
        await settle(1)
        assert it.agrees()
        assert it.server.lists == 2
        it.server.drop("deep")
        it.server.drop("b")
        await settle()
        assert it.agrees()
        assert it.server.lists == 3
        task.cancel()

    run(story())


def test_watches_that_somebody_ends_again_and_again_cause_few_lists() -> None:
    """Readable events in between do not start the backoff over."""

    async def story() -> None:
        it = scene("a")
        it.server.unencodable = "deep"
        task = asyncio.create_task(it.informer.run())
        await settle()
        for _ in range(2_400):
            it.server.put("a")
            await asyncio.sleep(0.125)
            it.server.put("deep")
            await asyncio.sleep(0.125)
        assert it.server.lists < 100  # in 600 seconds, one each 10 seconds at most
        await settle(60)
        assert it.agrees()
        it.server.put("deep")
        before = it.server.lists
        await settle(2)
        assert (it.server.lists, it.agrees()) == (before + 1, True), "it starts over"
        task.cancel()

    run(story())


def test_unreachable_server_is_asked_with_backoff() -> None:
    async def story() -> None:
        it = scene("a")
        it.server.faults = [ApiError(0, "ClientConnectorError", "") for _ in range(1000)]
        task = asyncio.create_task(it.informer.run())
        await asyncio.sleep(600)
        assert 15 < len(it.failures) < 60
        it.server.faults = []
        await asyncio.sleep(31)
        assert it.agrees()
        task.cancel()

    run(story())


def test_backoff_doubles_up_to_its_bound_and_starts_over() -> None:
    backoff = Backoff(first=1.0, most=8.0)
    delays = [backoff.next() for _ in range(6)]
    for delay, bound in zip(delays, (1, 2, 4, 8, 8, 8), strict=True):
        assert bound / 2 <= delay <= bound
    backoff.reset()
    assert backoff.next() <= 1.0


events = st.one_of(
    st.tuples(st.just("put"), st.sampled_from("abcde")),
    st.tuples(st.just("drop"), st.sampled_from("abcde")),
    st.tuples(st.just("compact"), st.just("")),
    st.tuples(st.just("fault"), st.sampled_from(("0", "410", "500", "429"))),
    st.tuples(st.just("wait"), st.just("")),
)


@given(st.lists(events, max_size=25))
def test_sink_converges_to_the_server_after_any_events(
    happenings: list[tuple[str, str]],
) -> None:
    async def story() -> None:
        it = scene("a", "b")
        task = asyncio.create_task(it.informer.run())
        for what, which in happenings:
            match what:
                case "put":
                    it.server.put(which, turn=str(it.server.version))
                case "drop" if which in it.server.objects:
                    it.server.drop(which)
                case "compact":
                    it.server.forget_history()
                case "fault":
                    it.server.faults.append(ApiError(int(which), "", ""))
                    it.server.changed.set()
                case "wait":
                    await settle(1)
        await settle(600)
        it.server.put("end")
        await settle(600)
        assert it.agrees()
        task.cancel()

    run(story())


# One object alone


MALFORMED = {
    "nothing": {},
    "no type": {"object": namespace("b")},
    "no object": {"type": "DELETED"},
    "an object that is none": {"type": "MODIFIED", "object": []},
    "no metadata": {"type": "DELETED", "object": {"kind": "Namespace"}},
    "no version": {"type": "DELETED", "object": namespace("b")},
    "a version that is no number": {
        "type": "DELETED",
        "object": {"metadata": {"name": "b", "resourceVersion": "new"}},
    },
    "no name": {"type": "DELETED", "object": {"metadata": {"resourceVersion": "99"}}},
    "a type that nobody knows": {
        "type": "RENAMED",
        "object": {"metadata": {"name": "b", "resourceVersion": "99"}},
    },
    "a bookmark of nothing": {"type": "BOOKMARK", "object": {}},
}


@pytest.mark.parametrize("event", MALFORMED.values(), ids=MALFORMED)
def test_unidentifiable_event_causes_a_list(event: Manifest) -> None:
    """It may have been a deletion, and so the end of a grant."""

    async def story() -> None:
        it = scene("a", "b", "c")
        original = it.server.watch

        async def watch(
            selection: Selection,
            resource_version: str,
            silence: float,
            on_open: Callable[[], None],
        ) -> AsyncIterator[Manifest]:
            if it.server.lists == 1:
                yield copy.deepcopy(event)
            async for each in original(selection, resource_version, silence, on_open):
                yield each

        it.server.watch = watch  # type: ignore[method-assign]
        task = asyncio.create_task(it.informer.run())
        await it.informer.synced.wait()
        it.server.drop("b")
        it.server.forget_history()
        await settle()
        assert not task.done()
        assert it.agrees()
        assert it.server.lists == 2
        assert it.failures == [0]
        task.cancel()

    run(story())


class Stumbling(Sink):
    """A sink that fails at one object."""

    def observe(self, manifest: Manifest) -> None:
        if manifest["metadata"]["name"] == "b":
            raise KeyError("spec")
        super().observe(manifest)

    def forget(self, kind: str, ref: Ref, version: int) -> None:
        if ref.name == "b":
            raise RecursionError
        super().forget(kind, ref, version)


def test_failing_object_does_not_affect_others() -> None:
    async def story() -> None:
        it = scene("a", "b", "c")
        sink = it.sink = Stumbling()
        it.informer._sink = sink
        task = asyncio.create_task(it.informer.run())
        await it.informer.synced.wait()
        assert set(sink.objects) == {"a", "c"}
        it.server.put("b", turn="2")
        it.server.drop("a")
        it.server.drop("b")
        it.server.put("d")
        await settle()
        assert not task.done()
        assert set(sink.objects) == {"c", "d"}
        assert it.server.lists == 1
        assert it.failures == [0, 0, 0]
        task.cancel()

    run(story())


@pytest.mark.parametrize("item", [None, 7, {}, {"metadata": {}}, {"metadata": {"name": 3}}])
def test_unnamed_object_is_reported_and_nothing_counts_as_deleted(
    item: Any,
) -> None:
    """It may be any of those that the list does not have."""

    async def story() -> None:
        it = scene("a", "b", "c")
        original = it.server.pages

        async def pages(selection: Selection) -> AsyncIterator[Manifest]:
            async for page in original(selection):
                if it.server.lists == 2:
                    page["items"].insert(0, copy.deepcopy(item))
                yield page

        it.server.pages = pages  # type: ignore[method-assign]
        task = asyncio.create_task(it.informer.run())
        await it.informer.synced.wait()
        it.server.drop("b")
        it.server.forget_history()
        it.server.put("d")
        await settle()
        assert set(it.sink.objects) == {"a", "b", "c", "d"}
        it.server.forget_history()
        it.server.faults = [ApiError(410, "Expired", "")]
        it.server.changed.set()
        await settle()
        assert it.agrees()
        task.cancel()

    run(story())


def test_unexpected_error_backs_off() -> None:
    async def story() -> None:
        it = scene("a")
        it.server.faults = [cast("ApiError", KeyError("metadata")), None]
        task = asyncio.create_task(it.informer.run())
        await settle()
        assert not task.done()
        assert it.agrees()
        task.cancel()

    run(story())


def test_established_watch_that_stays_quiet_is_young() -> None:
    async def story() -> None:
        it = scene("a")
        assert it.informer.age == 0.0
        task = asyncio.create_task(it.informer.run())
        await it.informer.established.wait()
        await asyncio.sleep(100)
        assert it.informer.age >= 100  # no bookmark comes from this server
        it.server.put("b")
        await asyncio.sleep(1)
        assert it.informer.age <= 1
        for _ in range(20):  # a proxy that ends every watch before its first bookmark
            await asyncio.sleep(30)
            it.server.cut = True
            it.server.changed.set()
            await asyncio.sleep(0.01)
            it.server.cut = False
        assert it.informer.age <= 60
        task.cancel()

    run(story())


@pytest.mark.parametrize("status", [403, 500, 0])
def test_rejected_watch_ages(status: int) -> None:
    async def story() -> None:
        it = scene("a")
        it.server.faults = [None, *[ApiError(status, "Forbidden", "")] * 100]
        task = asyncio.create_task(it.informer.run())
        await it.informer.synced.wait()
        await asyncio.sleep(600)
        assert not it.informer.established.is_set()
        assert it.informer.age >= 600
        it.server.faults = []
        await asyncio.sleep(60)
        assert it.informer.established.is_set()
        assert it.informer.age <= 60
        task.cancel()

    run(story())


def test_list_that_fails_at_its_second_page_ages() -> None:
    async def story() -> None:
        it = scene("a", "b", "c")
        task = asyncio.create_task(it.informer.run())
        await it.informer.synced.wait()
        it.server.faults = [ApiError(410, "Expired", ""), *[None, ApiError(500, "", "")] * 100]
        it.server.changed.set()
        await asyncio.sleep(600)
        assert it.informer.age >= 600
        task.cancel()

    run(story())


def test_attempt_to_watch_that_hangs_does_not_reset_the_backoff() -> None:
    async def story() -> None:
        it = scene("a")
        original, attempts = it.server.watch, 0

        async def watch(
            selection: Selection,
            resource_version: str,
            silence: float,
            on_open: Callable[[], None],
        ) -> AsyncIterator[Manifest]:
            nonlocal attempts
            attempts += 1
            await asyncio.sleep(11)
            it.server.faults = [ApiError(0, "ConnectionTimeoutError", "")]
            async for each in original(selection, resource_version, silence, on_open):
                yield each

        it.server.watch = watch  # type: ignore[method-assign]
        task = asyncio.create_task(it.informer.run())
        await asyncio.sleep(600)
        assert attempts < 24
        task.cancel()

    run(story())
