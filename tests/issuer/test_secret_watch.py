"""One Secret is followed: what it says now, or said last, and nothing once it is gone."""

import asyncio
from collections.abc import Callable
from typing import cast

import pytest
from structlog.testing import capture_logs

from tests.issuer.builders import (
    CHECKOUT,
    NAME,
    NAMESPACE,
    PAYMENTS,
    secret,
    secret_data,
    without_edge,
)
from tests.patience import PATIENCE
from troth.cluster.api import ApiServer
from troth.cluster.errors import ApiError
from troth.issuer import secret_watch as following_module
from troth.issuer.secret_watch import Following
from troth.resources.references import Ref
from troth.world.facts.objects import UNREADABLE, Manifest

THE_SECRET = Ref(NAMESPACE, f"{NAME}-tokens")


class Clock:
    moment = 0.0

    def __call__(self) -> float:
        return self.moment


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def following(clock: Clock) -> Following:
    return Following(NAMESPACE, NAME, clock)


def audiences(following: Following) -> set[str]:
    assert following.mandate is not None
    return set(following.mandate.view.callers[CHECKOUT].audiences)


def test_it_is_not_ready_until_there_was_a_view(following: Following) -> None:
    assert not following.ready
    assert following.age is None
    following.observe(secret())
    assert following.ready


def test_an_edge_that_goes_is_gone_at_once(following: Following) -> None:
    following.observe(secret())
    assert audiences(following) == {PAYMENTS}
    following.observe(secret(secret_data(without_edge()), "2"))
    assert audiences(following) == set()


def test_the_age_is_that_of_the_last_change(following: Following, clock: Clock) -> None:
    following.observe(secret())
    clock.moment = 7.0
    following.observe(secret())  # seen again, by a list after a watch that broke off
    assert following.age == 7.0
    following.observe(secret(version="2"))
    assert following.age == 0.0


def test_a_version_that_cannot_be_read_changes_nothing_and_is_told_once(
    following: Following,
) -> None:
    following.observe(secret())
    broken = secret({**secret_data(), "view.json.gz": b"half"}, "2")
    with capture_logs() as lines:
        following.observe(broken)
        following.observe(broken)
    assert [line["event"] for line in lines] == ["view unreadable"]
    assert audiences(following) == {PAYMENTS}
    following.observe(secret(secret_data(without_edge()), "3"))
    assert audiences(following) == set()


def test_an_unreadable_secret_changes_nothing(following: Following) -> None:
    following.observe(secret())
    newer = secret(secret_data(without_edge()), "2")
    with capture_logs() as lines:
        following.observe({**newer, UNREADABLE: "spec: nests too deep"})
    assert [(line["event"], line["why"]) for line in lines] == [
        ("view unreadable", "spec: nests too deep")
    ]
    assert audiences(following) == {PAYMENTS}


async def test_a_secret_that_is_not_expected_ends_neither_watch_nor_check(
    following: Following, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing of it is logged, for it may be a key."""

    def fail(_: Manifest) -> None:
        raise KeyError("hunter2")

    monkeypatch.setattr(following_module, "read_mandate", fail)
    with capture_logs() as lines:
        following.observe(secret())
        await checked(following, Server(secret(version="2")))
    assert [line["event"] for line in lines] == ["view unreadable"] * 2
    assert all(line["why"].startswith("KeyError in test_secret_watch.py:") for line in lines)
    assert "hunter2" not in str(lines)
    monkeypatch.undo()
    following.observe(secret(version="3"))
    assert following.ready


def test_where_the_secret_is_deleted_nothing_more_is_issued(following: Following) -> None:
    following.observe(secret())
    following.forget("Secret", THE_SECRET, 2)
    assert following.current() is None
    assert not following.ready


def test_a_secret_made_again_is_followed_again(following: Following) -> None:
    following.observe(secret())
    following.forget("Secret", THE_SECRET, 2)
    following.observe(secret())
    assert following.ready


@pytest.mark.parametrize(("namespace", "name"), [("shop", NAME), (NAMESPACE, "staging")])
def test_other_secrets_are_nothing_to_it(following: Following, namespace: str, name: str) -> None:
    other = secret(namespace=namespace)
    other["metadata"]["name"] = f"{name}-tokens"
    following.observe(other)
    assert not following.ready
    following.observe(secret())
    following.forget("Secret", Ref(namespace, f"{name}-tokens"), 2)
    assert following.ready


def test_no_key_is_told_of_but_by_its_fingerprint(following: Following) -> None:
    with capture_logs() as lines:
        following.observe(secret())
    (line,) = lines
    assert len(line["signing_key"]) == 16
    assert "PRIVATE" not in str(line)


# Beside the watch


class Server:
    """An API server that has one Secret, or none, or is away."""

    def __init__(self, secret: Manifest | None) -> None:
        self.secret = secret
        self.away = False
        self.meanwhile: Callable[[], None] = lambda: None
        self.read = 0

    async def metadata(self, kind: str, ref: Ref) -> Manifest:
        return {"metadata": (await self._found(kind, ref))["metadata"]}

    async def get(self, kind: str, ref: Ref) -> Manifest:
        self.read += 1
        found = await self._found(kind, ref)
        self.meanwhile()
        return {name: part for name, part in found.items() if name != "kind"}

    async def _found(self, kind: str, ref: Ref) -> Manifest:
        assert (kind, ref) == ("Secret", THE_SECRET)
        if self.away:
            raise ApiError(0, "ClientConnectorError", "the API server cannot be reached")
        if self.secret is None:
            raise ApiError(404, "NotFound", "there is none")
        return self.secret


async def checked(following: Following, server: Server) -> None:
    await following._check(cast(ApiServer, server))


async def test_what_a_dead_watch_does_not_tell_is_found_out(following: Following) -> None:
    following.observe(secret())
    await checked(following, Server(secret(secret_data(without_edge()), "2")))
    assert audiences(following) == set()
    await checked(following, Server(None))
    assert following.current() is None


async def test_a_secret_that_is_known_is_not_read_again(following: Following) -> None:
    following.observe(secret())
    server = Server(secret())
    await checked(following, server)
    assert server.read == 0


async def test_an_answer_that_the_watch_has_overtaken_is_not_believed(
    following: Following,
) -> None:
    following.observe(secret())
    server = Server(secret(version="2"))
    server.meanwhile = lambda: following.observe(secret(secret_data(without_edge()), "3"))
    await checked(following, server)
    assert audiences(following) == set()


async def test_while_the_api_server_is_away_nothing_changes(following: Following) -> None:
    following.observe(secret())
    server = Server(secret())
    server.away = True
    with pytest.raises(ApiError):
        await checked(following, server)
    assert following.ready


def test_a_removed_edge_is_found_within_five_seconds_though_the_watch_is_dead() -> None:
    assert following_module.CHECK_EVERY + following_module.LONGEST_PAUSE < 5.0


async def test_it_goes_on_asking_after_an_error(
    following: Following, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following_module, "CHECK_EVERY", 0.0)
    server = Server(secret())
    server.away = True
    task = asyncio.create_task(following.check(cast(ApiServer, server)))
    await asyncio.sleep(0.01)
    server.away = False
    async with asyncio.timeout(PATIENCE):
        while not following.ready:  # noqa: ASYNC110 - what is waited for is not a task's
            await asyncio.sleep(0.01)
    task.cancel()
