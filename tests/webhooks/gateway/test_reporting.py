"""Which key verified when is told seldom, by whichever replica, and never at a delivery's cost."""

import asyncio
from datetime import UTC, datetime
from typing import Any, cast

import pytest
import structlog
from structlog.testing import capture_logs

from tests.webhooks.gateway.running import SECRET, compiled, endpoint
from troth.cluster.api import ApiServer
from troth.cluster.errors import ApiError
from troth.resources.references import Ref
from troth.webhooks.gateway import reporting as module
from troth.webhooks.gateway.reporting import Reporter
from troth.webhooks.gateway.routes import Routes, served
from troth.world.facts import Manifest

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC).timestamp()
LABELS = {"app.kubernetes.io/managed-by": "troth", "troth.dev/webhook-gateway": "edge"}
STRIPE = "shop/stripe"


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


class Server:
    """An API server with one ConfigMap, or none yet."""

    def __init__(self, data: dict[str, str] | None = None) -> None:
        self.there = None if data is None else {"metadata": {}, "data": data}
        self.patches: list[Manifest] = []
        self.failing = 0
        self.racing = False

    async def merge_patch(self, kind: str, ref: Ref, patch: Manifest) -> Manifest:
        assert (kind, ref) == ("ConfigMap", Ref("troth-gateway", "edge-webhook-keys"))
        if self.failing:
            raise ApiError(self.failing, "ServiceUnavailable", "")
        if self.there is None:
            raise ApiError(404, "NotFound", "")
        self.patches.append(patch)
        data: dict[str, Any] = {**(self.there["data"] or {}), **patch["data"]}
        data = {name: text for name, text in data.items() if text is not None}
        self.there = {"metadata": patch["metadata"], "data": data}
        return self.there

    async def create(self, manifest: Manifest) -> Manifest:
        if self.racing:
            self.there = {"metadata": {}, "data": {}}
            raise ApiError(409, "AlreadyExists", "")
        self.there = manifest
        return manifest


@pytest.fixture
def routes() -> Routes:
    routes = Routes()
    for name in (STRIPE, "shop/slack"):
        data = compiled(endpoint(name), k1=SECRET, k2=SECRET)
        routes.put(name.replace("/", "."), served(data))
    return routes


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def unreadable() -> set[str]:
    return set()


@pytest.fixture
def reporter(routes: Routes, clock: Clock, unreadable: set[str]) -> Reporter:
    return Reporter("troth-gateway", "edge", routes, unreadable, clock)


async def reported(reporter: Reporter, server: Server) -> dict[str, str]:
    await reporter.report(cast(ApiServer, server))
    assert server.there is not None
    assert isinstance(server.there["data"], dict)
    return server.there["data"]


async def test_where_there_is_none_it_is_made(reporter: Reporter) -> None:
    server = Server()
    reporter.used(STRIPE, "k1")
    assert await reported(reporter, server) == {"shop.stripe.k1": "2026-03-01T12:00:00Z"}
    assert server.there is not None
    assert server.there["metadata"] == {
        "name": "edge-webhook-keys",
        "namespace": "troth-gateway",
        "labels": LABELS,
    }


async def test_what_is_told_is_told_again_after_ten_minutes(
    reporter: Reporter, clock: Clock
) -> None:
    server = Server({})
    reporter.used(STRIPE, "k1")
    await reported(reporter, server)
    for _ in range(10):
        clock.now += 60
        reporter.used(STRIPE, "k1")
        await reported(reporter, server)
    assert len(server.patches) == 1
    clock.now += 60
    reporter.used(STRIPE, "k1")
    assert await reported(reporter, server) == {"shop.stripe.k1": "2026-03-01T12:11:00Z"}
    assert [patch["metadata"]["labels"] for patch in server.patches] == [LABELS, LABELS]


async def test_what_another_replica_has_told_is_no_news(reporter: Reporter, clock: Clock) -> None:
    server = Server({"shop.stripe.k1": "2026-03-01T11:59:00Z"})
    await reported(reporter, server)
    reporter.used(STRIPE, "k1")
    await reported(reporter, server)
    assert [patch["data"] for patch in server.patches] == [{}]


@pytest.mark.parametrize("text", ["yesterday", "", "9999-12-31T23:59:59Z", "0001-01-01"])
async def test_a_time_that_makes_no_sense_is_replaced(reporter: Reporter, text: str) -> None:
    server = Server({"shop.stripe.k1": text})
    await reported(reporter, server)
    reporter.used(STRIPE, "k1")
    assert await reported(reporter, server) == {"shop.stripe.k1": "2026-03-01T12:00:00Z"}


async def test_entries_of_what_has_gone_are_removed(
    reporter: Reporter, routes: Routes, unreadable: set[str]
) -> None:
    now = "2026-03-01T11:59:00Z"
    kept = {"shop.stripe.k1": now, "shop.broken.k7": now}
    server = Server({**kept, "shop.gone.k1": now, "shop.stripe.k0": now, "rubbish": "x"})
    unreadable.add("shop.broken")
    reporter.used("shop/gone", "k1")
    await reported(reporter, server)
    assert await reported(reporter, server) == kept
    routes.put("shop.stripe", None)
    assert await reported(reporter, server) == {"shop.broken.k7": now}


async def test_where_nothing_is_news_nothing_is_asked(reporter: Reporter) -> None:
    server = Server({})
    await reported(reporter, server)
    await reported(reporter, server)
    assert len(server.patches) == 1


async def test_two_that_make_it_at_once_both_end_in_it(reporter: Reporter) -> None:
    server = Server()
    server.racing = True
    reporter.used(STRIPE, "k1")
    await reported(reporter, server)
    assert await reported(reporter, server) == {"shop.stripe.k1": "2026-03-01T12:00:00Z"}


async def test_a_name_that_is_too_long_is_left_out(
    clock: Clock, routes: Routes, reporter: Reporter
) -> None:
    key_id = "k" * 250
    routes.put("shop.stripe", served(compiled(endpoint(STRIPE), **{key_id: SECRET})))
    reporter.used(STRIPE, key_id)
    reporter.used("shop/slack", "k2")
    assert list(await reported(reporter, Server({}))) == ["shop.slack.k2"]


async def test_it_goes_on_after_failures_and_tells_of_them_once(
    reporter: Reporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    structlog.reset_defaults()
    monkeypatch.setattr(module, "log", structlog.get_logger())
    monkeypatch.setattr(module, "EVERY", 0.001)
    server, synced = Server({}), [False]
    server.failing = 503
    reporter.used(STRIPE, "k1")
    with capture_logs() as lines:
        task = asyncio.create_task(reporter.run(cast(ApiServer, server), lambda: synced[0]))
        await asyncio.sleep(0.02)
        assert lines == []  # nothing is reported before it is known which endpoints there are
        synced[0] = True
        await asyncio.sleep(0.05)
        server.failing = 0
        async with asyncio.timeout(5):
            while not server.patches:  # noqa: ASYNC110 - what is waited for is not a task's
                await asyncio.sleep(0.005)
        task.cancel()
    assert [line["event"] for line in lines] == ["keys not reported"]
