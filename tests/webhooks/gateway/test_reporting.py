"""Reports of key use: rare, shared by replicas, and without cost for deliveries."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Any, cast

import pytest
import structlog
from structlog.testing import capture_logs

from tests.patience import PATIENCE
from tests.webhooks.gateway.running import SECRET, compiled, endpoint
from troth.cluster.api import ApiServer
from troth.cluster.errors import ApiError
from troth.resources.references import Ref
from troth.webhooks.gateway import reporting as module
from troth.webhooks.gateway.reporting import Reporter
from troth.webhooks.gateway.routes import Routes, served
from troth.world.facts.objects import Manifest

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC).timestamp()
LABELS = {"troth.dev/webhook-report": "edge"}
STRIPE = "shop/stripe"


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


class Server:
    """An API server with one ConfigMap, or none yet."""

    def __init__(self, data: dict[str, str] | None = None) -> None:
        self.there: Manifest | None = None
        self.version = 0
        self.writes = 0
        self.failing = 0
        if data is not None:
            self.put({}, data)

    def put(self, metadata: Manifest, data: dict[str, Any]) -> Manifest:
        """Have this there, as somebody may have written it."""
        self.version += 1
        kept = {name: text for name, text in data.items() if text is not None}
        metadata = {**metadata, "resourceVersion": str(self.version)}
        self.there = {"metadata": metadata, "data": kept}
        return self.there

    async def merge_patch(self, kind: str, ref: Ref, patch: Manifest) -> Manifest:
        assert (kind, ref) == ("ConfigMap", Ref("troth-gateway", "edge-webhook-keys"))
        if self.failing:
            raise ApiError(self.failing, "ServiceUnavailable", "")
        if self.there is None:
            raise ApiError(404, "NotFound", "")
        assert patch["metadata"]["labels"] == LABELS
        if "data" not in patch:
            return self.there
        if patch["metadata"]["resourceVersion"] != str(self.version):
            raise ApiError(409, "Conflict", "")
        self.writes += 1
        return self.put(patch["metadata"], {**self.there["data"], **patch["data"]})

    async def create(self, manifest: Manifest) -> Manifest:
        if self.there is not None:
            raise ApiError(409, "AlreadyExists", "")
        self.writes += 1
        return self.put(manifest["metadata"], manifest["data"])


def at(**keys: str) -> str:
    """What a report says of one endpoint."""
    return json.dumps({key: f"2026-03-01T{time}:00Z" for key, time in sorted(keys.items())})


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
    data: dict[str, str] = server.there["data"] if server.there is not None else {}
    return data


async def test_missing_report_is_created_when_needed(
    reporter: Reporter,
) -> None:
    server = Server()
    assert await reported(reporter, server) == {}
    assert server.writes == 0
    reporter.used(STRIPE, "k1")
    assert await reported(reporter, server) == {"shop.stripe": at(k1="12:00")}
    assert server.there is not None
    assert server.there["metadata"] == {
        "name": "edge-webhook-keys",
        "namespace": "troth-gateway",
        "labels": LABELS,
        "resourceVersion": "1",
    }


async def test_reported_time_is_updated_after_ten_minutes(reporter: Reporter, clock: Clock) -> None:
    server = Server({})
    for _ in range(11):
        reporter.used(STRIPE, "k1")
        await reported(reporter, server)
        clock.now += 60
    assert server.writes == 1
    reporter.used(STRIPE, "k1")
    assert await reported(reporter, server) == {"shop.stripe": at(k1="12:11")}
    assert server.writes == 2


async def test_new_key_keeps_the_times_of_others(reporter: Reporter, clock: Clock) -> None:
    server = Server({})
    reporter.used(STRIPE, "k1")
    await reported(reporter, server)
    clock.now += 60
    reporter.used(STRIPE, "k2")
    assert await reported(reporter, server) == {"shop.stripe": at(k1="12:00", k2="12:01")}


async def test_time_reported_by_another_replica_is_not_repeated(reporter: Reporter) -> None:
    server = Server({"shop.stripe": at(k1="11:59")})
    reporter.used(STRIPE, "k1")
    await reported(reporter, server)
    assert server.writes == 0


async def test_concurrent_reports_lose_nothing(
    reporter: Reporter, routes: Routes, clock: Clock
) -> None:
    server, other = Server(), Reporter("troth-gateway", "edge", routes, set(), clock)
    await reported(reporter, server)
    reporter.used(STRIPE, "k1")
    other.used(STRIPE, "k2")
    await reported(other, server)
    await reported(reporter, server)
    assert await reported(reporter, server) == {"shop.stripe": at(k1="12:00", k2="12:00")}
    other.used("shop/slack", "k1")
    for each in (other, other, reporter):
        found = await reported(each, server)
    assert found == {
        "shop.stripe": at(k1="12:00", k2="12:00"),
        "shop.slack": at(k1="12:00"),
    }


@pytest.mark.parametrize(
    "text", ["", "yesterday", "[]", '{"k1": 7}', at(k1="12:00").replace("2026", "9999")]
)
async def test_invalid_report_is_replaced(reporter: Reporter, text: str) -> None:
    server = Server({"shop.stripe": text})
    reporter.used(STRIPE, "k1")
    assert await reported(reporter, server) == {"shop.stripe": at(k1="12:00")}


async def test_report_of_a_deleted_endpoint_is_removed(
    reporter: Reporter, routes: Routes, unreadable: set[str]
) -> None:
    unreadable.update({"shop.broken", "shop.slack"})
    kept = {"shop.broken": at(k7="11:59"), "shop.slack": at(k9="11:59")}
    gone = {"shop.gone": at(k1="11:59"), "rubbish": "x"}
    server = Server({**kept, **gone, "shop.stripe": at(k0="11:59", k1="11:59")})
    reporter.used("shop/gone", "k1")
    assert await reported(reporter, server) == {**kept, "shop.stripe": at(k1="11:59")}
    routes.put("shop.stripe", None)
    assert await reported(reporter, server) == kept


async def test_unchanged_report_is_not_written(reporter: Reporter) -> None:
    server = Server({"shop.stripe": at(k1="11:59")})
    await reported(reporter, server)
    await reported(reporter, server)
    assert server.writes == 0


async def test_deleted_report_is_created_again(reporter: Reporter, clock: Clock) -> None:
    server = Server({})
    reporter.used(STRIPE, "k1")
    await reported(reporter, server)
    server.there = None
    clock.now += 660
    reporter.used(STRIPE, "k1")
    await reported(reporter, server)
    assert await reported(reporter, server) == {"shop.stripe": at(k1="12:11")}


async def test_reporting_continues_after_failures_and_logs_them_once(
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
        async with asyncio.timeout(PATIENCE):
            while not server.writes:  # noqa: ASYNC110 - what is waited for is not a task's
                await asyncio.sleep(0.005)
        task.cancel()
    assert [line["event"] for line in lines] == ["key report failed"]
