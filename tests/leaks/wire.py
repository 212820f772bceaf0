"""Proxy between operator and API server: it records Secrets, and echoes requests in answers."""

import json
from typing import Any

from aiohttp import web

from sandbox.faults import Fault, FaultyPath
from tests.leaks.searching import Search

_PHRASE = 2000
"""Bytes of a status line's phrase that a client still takes."""


class Wire:
    """Overhears every Secret that the operator sends, also those that never come to be."""

    def __init__(self, path: FaultyPath) -> None:
        self.path = path
        self._sent: list[dict[str, Any]] = []
        self.be_well()

    def be_well(self) -> None:
        """Let everything pass again, overheard."""
        self.path.well()
        self.path.always("PATCH", "secrets", self._pass)

    async def pending(self) -> list[tuple[str, str]]:
        """Return what requests faults are waiting for."""
        return [call for call, faults in self.path._once.items() if faults]

    def tell(self, search: Search) -> None:
        """Make the secrets known that were sent."""
        for number, manifest in enumerate(self._sent):
            metadata = {"namespace": "sent", "name": str(number)}
            search.keep_secret({"metadata": metadata, "data": manifest.get("data")})

    def echo(self, code: int) -> Fault:
        """Return an error in which everything that can be text is what was sent, now or last.

        Admission webhooks write what they like into the message and the reason of a refusal, and
        API servers quote what they find invalid.
        """

        async def answer(request: web.Request, _: FaultyPath) -> web.StreamResponse:
            told = await self._overhear(request) or json.dumps(self._sent[-1])
            phrase = told.replace("\n", " ").encode("ascii", "ignore")[:_PHRASE].decode()
            return web.json_response(_refusal(code, told), status=code, reason=phrase)

        return answer

    async def nonsense(self, request: web.Request, _: FaultyPath) -> web.StreamResponse:
        """Answer with a Secret that has no metadata, and the data that was sent last."""
        await self._overhear(request)
        return web.json_response({"kind": "Secret", "data": self._sent[-1]["data"]})

    async def nonsense_watched(self, _: web.Request, __: FaultyPath) -> web.StreamResponse:
        """Begin a watch with a Secret that has no metadata."""
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
