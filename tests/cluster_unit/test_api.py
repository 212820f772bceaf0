"""The requests of the API client, and how it reads the answers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes.aio.client import Configuration

from tests import builders
from troth.cli.inputs.access import PersonalServer
from troth.cluster.errors import ApiError
from troth.cluster.selection import Selection
from troth.cluster.server_clock import ServerClock
from troth.resources.references import Ref

IDENTITY = builders.identity()
REF = Ref.of(IDENTITY)


class Served:
    """An API server that records requests, and gives each the same answer."""

    def __init__(self) -> None:
        self.requests: list[web.Request] = []
        self.ports: list[tuple[str, int]] = []
        """Path of each request, and the client's port of its connection."""
        self.answer: dict[str, Any] = {"body": b"{}"}

    async def take(self, request: web.Request) -> web.Response:
        await request.read()
        self.requests.append(request)
        assert request.transport is not None
        self.ports.append((request.path, request.transport.get_extra_info("peername")[1]))
        return web.Response(**self.answer)


@asynccontextmanager
async def connected(
    served: Served,
    clock: ServerClock | None = None,
    **settings: Any,
) -> AsyncIterator[PersonalServer]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", served.take)
    async with TestServer(app) as server:
        config = Configuration(host=str(server.make_url("")).rstrip("/"), **settings)
        async with PersonalServer(config, clock=clock) as api:
            yield api


async def test_no_patch_asks_the_api_server_to_parse_it_twice() -> None:
    served = Served()
    async with connected(served) as api:
        await api.apply(IDENTITY)
        await api.apply_new(IDENTITY)
        await api.apply_status(IDENTITY)
        await api.merge_patch("ServiceIdentity", REF, {}, "status")
        await api.json_patch("ServiceIdentity", REF, [])
    assert [each.query["fieldValidation"] for each in served.requests] == 5 * ["Ignore"]
    assert [each.query["fieldManager"] for each in served.requests] == 5 * ["troth"]
    assert [each.query.get("force") for each in served.requests] == [*3 * ["true"], None, None]
    assert [each.path.endswith("/status") for each in served.requests] == [
        *(False, False, True, True, False),
    ]


async def test_apply_of_a_users_fields_forces_no_conflict() -> None:
    served = Served()
    async with connected(served) as api:
        await api.ask(IDENTITY)
    (request,) = served.requests
    assert request.query.get("force") is None


async def test_each_kind_of_patch_has_its_media_type() -> None:
    served = Served()
    async with connected(served) as api:
        await api.apply(IDENTITY)
        await api.merge_patch("ServiceIdentity", REF, {})
        await api.json_patch("ServiceIdentity", REF, [])
    assert [each.content_type for each in served.requests] == [
        "application/apply-patch+yaml",
        "application/merge-patch+json",
        "application/json-patch+json",
    ]
    assert await served.requests[2].json() == []


async def test_token_of_the_configuration_is_sent_with_each_request() -> None:
    served = Served()
    keys = {"BearerToken": "secret"}
    async with connected(served, api_key=keys, api_key_prefix={"BearerToken": "Bearer"}) as api:
        await api.get("Secret", REF)
    (request,) = served.requests
    assert request.headers["Authorization"] == "Bearer secret"
    assert request.headers["User-Agent"] == "troth"
    assert request.headers["Accept"] == "application/json"


async def test_selectors_are_quoted_and_those_without_a_value_are_left_out() -> None:
    served = Served()
    served.answer = {"body": b'{"metadata": {}, "items": []}'}
    labels = "app in (a,b),team=c&d"
    async with connected(served) as api:
        assert [page["items"] async for page in api.pages(Selection("Secret", labels=labels))]
    (request,) = served.requests
    assert dict(request.query) == {"labelSelector": labels, "limit": "500"}


async def test_log_without_a_line_is_asked_for_as_such() -> None:
    served = Served()
    async with connected(served) as api:
        await api.log(REF, most_bytes=1, last_lines=0)
        await api.log(REF, most_bytes=1)
    assert [each.query.get("tailLines") for each in served.requests] == ["0", None]


@pytest.mark.parametrize("body", [b"\xff\xfe{", b"", b"[]", b"[" * 100_000])
async def test_rejection_without_a_readable_status_has_its_code(body: bytes) -> None:
    served = Served()
    served.answer = {"body": body, "status": 503}
    async with connected(served) as api:
        with pytest.raises(ApiError) as raised:
            await api.get("Secret", REF)
    assert (raised.value.status, raised.value.reason) == (503, "Service Unavailable")


@pytest.mark.parametrize("status", [200, 403, 500, 503])
async def test_failure_is_no_answer_of_the_api_server(status: int) -> None:
    """A load balancer fails so as long as the API server is down."""
    served = Served()
    served.answer = {"body": b"{}", "status": status}
    async with connected(served) as api:
        with suppress(ApiError):
            await api.get("Secret", REF)
        assert (api.answered_at > 0) is (status < 500)


async def test_resource_is_left_alone_for_as_long_as_the_api_server_asks() -> None:
    served = Served()
    async with connected(served) as api:
        served.answer = {
            "body": b'{"reason": "TooManyRequests", "message": "later"}',
            "status": 429,
            "headers": {"Retry-After": "30"},
        }
        for _ in range(2):
            with pytest.raises(ApiError, match="429 TooManyRequests"):
                await api.get("Secret", REF)
        assert len(served.requests) == 1
        served.answer = {"body": b"{}"}
        await api.get("ConfigMap", REF)


@pytest.mark.parametrize("minutes", [-10, 10])
async def test_clock_is_compared_with_each_answer(minutes: int) -> None:
    served = Served()
    served.answer = {"body": b"{}", "status": 404}
    clock = ServerClock(now=lambda: datetime.now(UTC) + timedelta(minutes=minutes))
    async with connected(served, clock) as api:
        with pytest.raises(ApiError):
            await api.get("Secret", REF)
    assert not clock.agrees
    assert (clock.ahead > timedelta(0)) == (minutes > 0)


async def test_process_that_elects_compares_answers_about_the_lease_alone() -> None:
    served = Served()
    clock = ServerClock(now=lambda: datetime.now(UTC) + timedelta(minutes=10))
    clock.elects = True
    async with connected(served, clock) as api:
        await api.get("Secret", REF)
        assert clock.agrees
        await api.get("Lease", REF)
        assert not clock.agrees


async def test_request_for_the_lease_uses_a_new_connection_while_the_clock_is_in_doubt() -> None:
    """A connection that is kept would reach the same API server again."""
    served = Served()
    minutes = [0]
    clock = ServerClock(now=lambda: datetime.now(UTC) + timedelta(minutes=minutes[0]))
    async with connected(served, clock) as api:
        for minutes[0] in (0, 0, 10, 10, 10, 0, 0, 0):
            await api.get("Lease", REF)
            await api.get("Secret", REF)
    leases, secrets = (
        [port for path, port in served.ports if resource in path]
        for resource in ("leases", "secrets")
    )
    assert [leases.count(each) for each in dict.fromkeys(leases)] == [4, 1, 1, 2]
    assert len(set(secrets)) == 1
