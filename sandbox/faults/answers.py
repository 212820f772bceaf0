"""What may befall a request: an error in place of the answer, no answer, a late or an old one."""

import asyncio
import json
from collections.abc import Awaitable, Callable

from aiohttp import web

from sandbox.faults.path import Fault, FaultyPath, drop


def status(code: int, reason: str, message: str = "", *, retry_after: int | None = None) -> Fault:
    """Answer with an error of the API server's, carrying nothing out.

    With `retry_after` it says, as an overloaded API server does, how many seconds to stay away.
    """
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}

    async def answer(_request: web.Request, _path: FaultyPath) -> web.StreamResponse:
        return web.json_response(_status(code, reason, message), status=code, headers=headers)

    return answer


def error_event(code: int, reason: str) -> Fault:
    """Begin a watch and end it with an ERROR event, as an API server does."""

    async def answer(_request: web.Request, _path: FaultyPath) -> web.StreamResponse:
        event = {"type": "ERROR", "object": _status(code, reason, "")}
        return web.Response(text=json.dumps(event) + "\n", content_type="application/json")

    return answer


async def lost(request: web.Request, path: FaultyPath) -> web.StreamResponse:
    """Have the request carried out, and drop the connection instead of answering."""
    await path.forward(request)
    drop(request)
    return web.Response()


def answered_late(until: asyncio.Event) -> Fault:
    """Have a request carried out, and hold its answer back until something has happened."""

    async def answer(request: web.Request, path: FaultyPath) -> web.StreamResponse:
        response = await path.forward(request)
        await until.wait()
        return response

    return answer


def of_object(name: str, fault: Fault) -> Fault:
    """Have a fault befall the first request about an object of a name, and no other."""
    left = [fault]

    async def answer(request: web.Request, path: FaultyPath) -> web.StreamResponse:
        named = name in request.path.split("/")
        return await (left.pop()(request, path) if named and left else path.forward(request))

    return answer


def held(until: asyncio.Event) -> Fault:
    """Hold a request back until something has happened, as `late` does."""
    return late(until.wait)


def delayed(seconds: float) -> Fault:
    """Hold a request back for some time, as `late` does."""
    return late(lambda: asyncio.sleep(seconds))


def late(wait: Callable[[], Awaitable[object]]) -> Fault:
    """Hold a request back. It is on its way: it arrives though its sender give up or die."""

    async def answer(request: web.Request, path: FaultyPath) -> web.StreamResponse:
        async def in_the_end() -> web.StreamResponse:
            await wait()
            return await path.forward(request)

        return await path.see_through(in_the_end())

    return answer


class Past:
    """Lists as they once were, as an API server gives them whose own cache lags behind.

    `keep` and `replay` are faults, for the verb GET: what passed under the one is the answer under
    the other, page for page. The watch that follows is the API server's own affair: it goes on from
    the old version, or answers 410 where it no longer remembers.
    """

    def __init__(self) -> None:
        self._answers: dict[str, bytes] = {}

    async def keep(self, request: web.Request, path: FaultyPath) -> web.StreamResponse:
        """Let a request pass, and remember the answer."""
        answer = await path.forward(request)
        if isinstance(answer, web.Response) and isinstance(answer.body, bytes):
            self._answers[request.path_qs] = answer.body
        return answer

    async def replay(self, request: web.Request, _path: FaultyPath) -> web.StreamResponse:
        """Answer with what was remembered."""
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
