"""Proxy between operator and API server: it records Secrets, and echoes requests in responses."""

import json
from typing import Any

from aiohttp import web

from sandbox.faults import Fault, FaultyPath
from tests.leaks.searching import Search

_PHRASE = 2000
"""Longest reason phrase of a status line, in bytes, that a client accepts."""


class Wire:
    """Records every Secret that the operator sends, including those that are never stored."""

    def __init__(self, path: FaultyPath) -> None:
        self.path = path
        self._sent: list[dict[str, Any]] = []
        self.be_well()

    def be_well(self) -> None:
        """Forward every request again, recorded."""
        self.path.well()
        self.path.always("PATCH", "secrets", self._pass)

    async def pending(self) -> list[tuple[str, str]]:
        """Return the requests for which faults are still waiting."""
        return [call for call, faults in self.path._once.items() if faults]

    def tell(self, search: Search) -> None:
        """Add the sent secrets to a search."""
        for number, manifest in enumerate(self._sent):
            metadata = {"namespace": "sent", "name": str(number)}
            search.keep_secret({"metadata": metadata, "data": manifest.get("data")})

    def echo(self, code: int) -> Fault:
        """Return an error whose every text field quotes this request, or the last Secret sent.

        Admission webhooks choose the message and the reason of a rejection, and API servers quote
        invalid values.
        """

        async def answer(request: web.Request, _: FaultyPath) -> web.StreamResponse:
            told = await self._overhear(request) or json.dumps(self._sent[-1])
            phrase = told.replace("\n", " ").encode("ascii", "ignore")[:_PHRASE].decode()
            return web.json_response(_refusal(code, told), status=code, reason=phrase)

        return answer

    async def nonsense(self, request: web.Request, _: FaultyPath) -> web.StreamResponse:
        """Answer with a Secret without metadata that has the data sent last."""
        await self._overhear(request)
        return web.json_response({"kind": "Secret", "data": self._sent[-1]["data"]})

    async def nonsense_watched(self, _: web.Request, __: FaultyPath) -> web.StreamResponse:
        """Begin a watch with a Secret without metadata."""
        secret = {"kind": "Secret", "data": self._sent[-1]["data"]}
        event = json.dumps({"type": "MODIFIED", "object": secret})
        return web.Response(text=f"{event}\n", content_type="application/json")

    async def _pass(self, request: web.Request, path: FaultyPath) -> web.StreamResponse:
        await self._overhear(request)
        return await path.forward(request)

    async def _overhear(self, request: web.Request) -> str:
        text = (await request.read()).decode()
        sent = json.loads(text) if text else None
        if isinstance(sent, dict) and sent.get("data"):
            self._sent.append(sent)
        return text


def _refusal(code: int, told: str) -> dict[str, Any]:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "code": code,
        "reason": told,
        "message": told,
        "details": {"name": told, "causes": [{"reason": told, "message": told, "field": told}]},
    }
