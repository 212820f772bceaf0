"""Faults of single requests: an error response, no response, a late or an old response."""

import asyncio
import json
from collections.abc import Awaitable, Callable

from aiohttp import web

from sandbox.faults.path import Fault, FaultyPath, drop


def status(code: int, reason: str, message: str = "", *, retry_after: int | None = None) -> Fault:
    """Return a fault that answers with an error of the API server and does not forward the request.

    `retry_after` sets the header Retry-After in seconds, as an overloaded API server does.
    """
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}

    async def answer(_request: web.Request, _path: FaultyPath) -> web.StreamResponse:
        return web.json_response(_status(code, reason, message), status=code, headers=headers)

    return answer


def error_event(code: int, reason: str) -> Fault:
    """Return a fault that begins a watch and ends it with an ERROR event, as an API server does."""

    async def answer(_request: web.Request, _path: FaultyPath) -> web.StreamResponse:
        event = {"type": "ERROR", "object": _status(code, reason, "")}
        return web.Response(text=json.dumps(event) + "\n", content_type="application/json")

    return answer


async def lost(request: web.Request, path: FaultyPath) -> web.StreamResponse:
    """Forward the request, then drop the connection without a response."""
    await path.forward(request)
    drop(request)
    return web.Response()


def answered_late(until: asyncio.Event) -> Fault:
    """Return a fault that forwards a request and delays the response until an event is set."""

    async def answer(request: web.Request, path: FaultyPath) -> web.StreamResponse:
        response = await path.forward(request)
        await until.wait()
        return response

    return answer


def of_object(name: str, fault: Fault) -> Fault:
    """Return a fault that affects only the first request about an object of that name."""
    left = [fault]

    async def answer(request: web.Request, path: FaultyPath) -> web.StreamResponse:
        named = name in request.path.split("/")
        return await (left.pop()(request, path) if named and left else path.forward(request))

    return answer


def held(until: asyncio.Event) -> Fault:
    """Return a fault that delays a request until an event is set, as `late` does."""
    return late(until.wait)


def delayed(seconds: float) -> Fault:
    """Return a fault that delays a request for some seconds, as `late` does."""
    return late(lambda: asyncio.sleep(seconds))


def late(wait: Callable[[], Awaitable[object]]) -> Fault:
    """Return a fault that delays a request. The API server gets it even if the sender gives up."""

    async def answer(request: web.Request, path: FaultyPath) -> web.StreamResponse:
        async def in_the_end() -> web.StreamResponse:
            await wait()
            return await path.forward(request)

        return await path.see_through(in_the_end())

    return answer


class Past:
    """Lists in an earlier state, as from an API server whose cache lags behind.

    `keep` and `replay` are faults for the verb GET. `replay` answers with the responses that `keep`
    recorded, page for page. The watch that follows is not changed: the API server continues from
    the old version, or answers 410 if it no longer has it.
    """

    def __init__(self) -> None:
        self._answers: dict[str, bytes] = {}

    async def keep(self, request: web.Request, path: FaultyPath) -> web.StreamResponse:
        """Forward a request, and record the response."""
        answer = await path.forward(request)
        if isinstance(answer, web.Response) and isinstance(answer.body, bytes):
            self._answers[request.path_qs] = answer.body
        return answer

    async def replay(self, request: web.Request, _path: FaultyPath) -> web.StreamResponse:
        """Answer with the recorded response."""
        return web.Response(body=self._answers[request.path_qs], content_type="application/json")


def _status(code: int, reason: str, message: str) -> dict[str, object]:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "code": code,
        "reason": reason,
        "message": message,
    }
