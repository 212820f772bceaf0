"""Secrets are observed by informer and poll; the last readable version stays in effect."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import cast

import pytest
import structlog
from structlog.testing import capture_logs

from troth.cluster.api import ApiServer
from troth.cluster.errors import ApiError
from troth.cluster.selection import Selection
from troth.resources.references import Ref
from troth.serving import secret_watch
from troth.serving.secret_watch import SecretWatch
from troth.world.facts.objects import UNREADABLE, Manifest

SELECTION = Selection("Secret", "shop", labels="of=test")


class InvalidError(Exception):
    pass


class Watch(SecretWatch):
    """Watch that keeps the annotation `says` of each Secret."""

    invalid = InvalidError

    def __init__(self) -> None:
        super().__init__(SELECTION, 60.0)
        self.said: dict[str, str] = {}
        self.versions: dict[str, str] = {}
        self.unreadable: list[tuple[str, str, str, bool]] = []
        self.deleted: list[tuple[str, str, int]] = []

    def _read(self, ref: Ref, version: str, manifest: Manifest) -> None:
        says = manifest["metadata"]["says"]
        if says == "invalid":
            raise InvalidError("it is invalid")
        if says == "bug":
            raise KeyError("hunter2")
        self.said[ref.name], self.versions[ref.name] = says, version

    def _unreadable(self, ref: Ref, version: str, why: str, *, expected: bool) -> None:
        self.unreadable.append((ref.name, version, why, expected))

    def _deleted(self, kind: str, ref: Ref, version: int) -> None:
        self.deleted.append((kind, ref.name, version))
        self.said.pop(ref.name, None)


def secret(name: str, says: str, version: int = 1) -> Manifest:
    metadata = {"name": name, "namespace": "shop", "resourceVersion": str(version), "says": says}
    return {"kind": "Secret", "metadata": metadata}


class Server:
    """API server with some Secrets, which can be made unreachable."""

    def __init__(self, *secrets: Manifest) -> None:
        self.secrets = {Ref.of(each): each for each in secrets}
        self.away = False
        self.listed: Callable[[], None] = lambda: None
        self.got: dict[str, Callable[[], None]] = {}
        self.gets = 0

    async def pages(
        self, selection: Selection, *, metadata_only: bool = False
    ) -> AsyncIterator[Manifest]:
        assert (selection, metadata_only) == (SELECTION, True)
        if self.away:
            raise ApiError(0, "ClientConnectorError", "the API server cannot be reached")
        items = [{"metadata": each["metadata"]} for each in self.secrets.values()]
        yield {"items": items, "metadata": {"resourceVersion": "9"}}
        self.listed()

    async def get(self, kind: str, ref: Ref) -> Manifest:
        assert kind == "Secret"
        self.gets += 1
        if ref not in self.secrets:
            raise ApiError(404, "NotFound", "it does not exist")
        found = self.secrets[ref]
        self.got.get(ref.name, lambda: None)()
        return found


@pytest.fixture
def watch() -> Watch:
    return Watch()


async def polled(watch: Watch, server: Server) -> None:
    await watch._check(cast(ApiServer, server))


def test_each_version_is_read_once(watch: Watch) -> None:
    watch.observe(secret("a", "one"))
    watch.said.clear()
    watch.observe(secret("a", "one"))
    assert watch.said == {}
    watch.observe(secret("a", "two", 2))
    assert (watch.said, watch.versions) == ({"a": "two"}, {"a": "2"})
    assert watch.known(SELECTION) == (Ref("shop", "a"),)


@pytest.mark.parametrize("says", ["invalid", "bug"])
def test_unreadable_version_changes_nothing_and_is_reported_once(watch: Watch, says: str) -> None:
    watch.observe(secret("a", "one"))
    for _ in range(2):
        watch.observe(secret("a", says, 2))
    assert watch.said == {"a": "one"}
    ((name, version, why, expected),) = watch.unreadable
    assert (name, version, expected) == ("a", "2", says == "invalid")
    assert "hunter2" not in why
    watch.observe(secret("a", "three", 3))
    assert watch.said == {"a": "three"}


def test_secret_that_the_decoder_could_not_read_is_skipped(watch: Watch) -> None:
    watch.observe({**secret("a", "one"), UNREADABLE: "data: nests too deep"})
    assert watch.said == {}
    assert watch.unreadable == [("a", "1", "data: nests too deep", True)]


def test_deleted_secret_is_dropped_and_the_same_version_is_read_again(watch: Watch) -> None:
    watch.observe(secret("a", "one"))
    watch.forget("Secret", Ref("shop", "a"), 2)
    assert watch.said == {}
    assert watch.deleted == [("Secret", "a", 2)]
    watch.observe(secret("a", "one"))
    assert watch.said == {"a": "one"}


def test_watch_is_synced_when_its_informer_is(watch: Watch) -> None:
    assert not watch.synced
    informer = watch.informer(cast(ApiServer, Server()))
    assert not watch.synced
    informer.synced.set()
    assert watch.synced


async def test_poll_finds_changes_that_a_dead_watch_misses(watch: Watch) -> None:
    watch.observe(secret("a", "one"))
    watch.observe(secret("b", "one"))
    await polled(watch, Server(secret("a", "two", 2), secret("c", "new")))
    assert watch.said == {"a": "two", "c": "new"}


async def test_poll_reads_no_known_version_even_an_unreadable_one(watch: Watch) -> None:
    watch.observe(secret("a", "one"))
    watch.observe(secret("b", "invalid"))
    server = Server(secret("a", "one"), secret("b", "invalid"))
    await polled(watch, server)
    assert server.gets == 0


async def test_poll_does_not_overwrite_a_newer_version_of_the_watch(watch: Watch) -> None:
    watch.observe(secret("a", "one"))
    server = Server(secret("a", "two", 2), secret("b", "four", 4))
    server.got["a"] = lambda: watch.observe(secret("a", "three", 3))
    server.listed = lambda: watch.observe(secret("made-since", "one"))
    await polled(watch, server)
    assert watch.said == {"a": "three", "b": "four", "made-since": "one"}


async def test_secret_deleted_between_list_and_get_is_no_error(watch: Watch) -> None:
    server = Server(secret("a", "one"))
    server.listed = server.secrets.clear
    await polled(watch, server)
    assert watch.said == {}


async def test_nothing_changes_while_the_api_server_is_unreachable(watch: Watch) -> None:
    watch.observe(secret("a", "one"))
    server = Server()
    server.away = True
    with pytest.raises(ApiError):
        await polled(watch, server)
    assert watch.said == {"a": "one"}


async def test_poll_continues_after_an_error(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    structlog.reset_defaults()
    monkeypatch.setattr(secret_watch, "log", structlog.get_logger())
    watch.poll_interval = 0.0
    server = Server(secret("a", "one"))
    server.away = True
    with capture_logs() as lines:
        task = asyncio.create_task(watch.check(cast(ApiServer, server)))
        await asyncio.sleep(0.01)
        server.away = False
        async with asyncio.timeout(5):
            while not watch.said:  # noqa: ASYNC110 - no task signals the condition
                await asyncio.sleep(0.01)
        task.cancel()
    assert lines == []  # the informer reports that the API server is unreachable
