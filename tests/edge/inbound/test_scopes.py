"""`require_scopes(...)` in each framework."""

import asyncio
import json
from collections.abc import Callable
from typing import Annotated, Any

import django
import httpx
import pytest
from django.conf import settings as django_settings
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from fastapi import Depends, FastAPI
from flask import Flask
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from tests.edge.mounts import CHECKOUT
from troth.edge.frameworks import django as for_django
from troth.edge.frameworks import flask as for_flask
from troth.edge.frameworks import starlette as for_starlette
from troth.edge.inbound import asgi, wsgi
from troth.edge.inbound.caller import Caller

HAS = Caller(CHECKOUT, frozenset({"payments.charge", "payments.refund"}))
LACKS = Caller(CHECKOUT, frozenset({"payments.charge"}))
NEEDED = ("payments.charge", "payments.refund")

Answer = tuple[int, dict[str, str], bytes]


class Known:
    """In place of the middleware: the caller is known already."""

    def __init__(self, app: Any, caller: Caller | None) -> None:
        self.app, self.caller = app, caller

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app(scope | {asgi.CALLER_KEY: self.caller}, receive, send)


def by_asgi(app: Any, caller: Caller | None, path: str) -> Answer:
    async def get() -> httpx.Response:
        transport = httpx.ASGITransport(Known(app, caller))
        async with httpx.AsyncClient(transport=transport, base_url="https://payments") as client:
            return await client.get(path)

    answer = asyncio.run(get())
    return answer.status_code, dict(answer.headers), answer.content


def in_starlette(caller: Caller | None, path: str) -> Answer:
    @for_starlette.require_scopes(*NEEDED)
    async def awaited(request: Request) -> Response:
        return PlainTextResponse(f"{for_starlette.caller(request) == caller}")

    @for_starlette.require_scopes(*NEEDED)
    def plain(request: Request) -> Response:
        return PlainTextResponse(f"{for_starlette.caller(request) == caller}")

    app = Starlette(routes=[Route("/awaited", awaited), Route("/plain", plain)])
    return by_asgi(app, caller, path)


def in_fastapi(caller: Caller | None, path: str) -> Answer:
    app = FastAPI()
    app.add_exception_handler(for_starlette.ScopesMissingError, for_starlette.problem)
    needed = Depends(for_starlette.scoped(*NEEDED))

    @app.get("/awaited")
    async def awaited(seen: Annotated[Caller, needed]) -> Response:
        return PlainTextResponse(f"{seen == caller}")

    @app.get("/plain", dependencies=[needed])
    def plain() -> Response:
        return PlainTextResponse("True")

    return by_asgi(app, caller, path)


def in_flask(caller: Caller | None, path: str) -> Answer:
    app = Flask("payments")

    @app.get("/plain")
    @for_flask.require_scopes(*NEEDED)
    def plain() -> str:
        return f"{for_flask.caller() == caller}"

    answer = app.test_client().get(path, environ_overrides={wsgi.CALLER_KEY: caller})
    return answer.status_code, dict(answer.headers), answer.data


@pytest.fixture(scope="module", autouse=True)
def _django_application() -> None:
    if not django_settings.configured:
        django_settings.configure()
        django.setup()


def in_django(caller: Caller | None, _: str) -> Answer:
    @for_django.require_scopes(*NEEDED)
    def plain(request: HttpRequest) -> HttpResponse:
        return HttpResponse(f"{for_django.caller(request) == caller}")

    answer = plain(RequestFactory().get("/plain", **{wsgi.CALLER_KEY: caller}))
    return answer.status_code, dict(answer.headers), answer.content


ASKED: list[tuple[Callable[[Caller | None, str], Answer], str]] = [
    (in_starlette, "/awaited"),
    (in_starlette, "/plain"),
    (in_fastapi, "/awaited"),
    (in_fastapi, "/plain"),
    (in_flask, "/plain"),
    (in_django, "/plain"),
]
EACH = pytest.mark.parametrize(("ask", "path"), ASKED)


@EACH
def test_caller_with_all_scopes_is_served(
    ask: Callable[[Caller | None, str], Answer], path: str
) -> None:
    status, _, body = ask(HAS, path)
    assert (status, body) == (200, b"True")


@EACH
@pytest.mark.parametrize("caller", [LACKS, None])
def test_missing_scope_is_reported_with_the_required_ones(
    ask: Callable[[Caller | None, str], Answer], path: str, caller: Caller | None
) -> None:
    status, headers, body = ask(caller, path)
    headers = {name.lower(): value for name, value in headers.items()}
    assert status == 403
    assert headers["content-type"] == "application/problem+json"
    assert headers["www-authenticate"] == (
        'Bearer error="insufficient_scope", scope="payments.charge payments.refund"'
    )
    assert json.loads(body)["code"] == "scope-missing"


async def test_django_checks_scopes_of_asynchronous_views() -> None:
    @for_django.require_scopes(*NEEDED)
    async def awaited(request: HttpRequest) -> HttpResponse:
        return HttpResponse("served")

    for caller, status in ((HAS, 200), (LACKS, 403), (None, 403)):
        request = RequestFactory().get("/")
        request.scope = {asgi.CALLER_KEY: caller}
        assert (await awaited(request)).status_code == status


def test_fastapi_rejects_with_its_own_answer_without_the_handler() -> None:
    app = FastAPI()

    @app.get("/plain", dependencies=[Depends(for_starlette.scoped(*NEEDED))])
    def plain() -> str:
        return "served"

    status, headers, body = by_asgi(app, LACKS, "/plain")
    assert status == 403
    assert "insufficient_scope" in headers["www-authenticate"]
    assert b"served" not in body
