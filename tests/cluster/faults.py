"""A path to the API server on which things go wrong when a test says so.

It stands between operator and API server, with TLS to either side, and lets everything pass
unchanged until it is told otherwise. Faults are named by the resource they befall, in the plural.
"""

import asyncio
import json
import ssl
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import aiohttp
import yaml
from aiohttp import web

from sandbox.certificates import Authority
from sandbox.kubeconfig import verified, write_kubeconfig
from tests.cluster.person import reached_by

LOOPBACK = "127.0.0.1"
_HOP = {"host", "content-length", "transfer-encoding", "connection", "accept-encoding"}


@dataclass(frozen=True)
class Call:
    """One request: what is asked of which resource; `verb` is the method, or WATCH."""

    verb: str
    resource: str
    path: str

    @classmethod
    def of(cls, request: web.Request) -> Self:
        parts = request.path.strip("/").split("/")
        rest = parts[2:] if parts[0] == "api" else parts[3:]
        if rest[0] == "namespaces" and len(rest) > 2:
            rest = rest[2:]
        watches = request.query.get("watch", "").lower() in ("true", "1")
        return cls("WATCH" if watches else request.method, rest[0], request.path)


Fault = Callable[[web.Request, "FaultyPath"], Awaitable[web.StreamResponse]]


def status(code: int, reason: str, message: str = "") -> Fault:
    """Answer with an error of the API server's."""

    async def answer(_request: web.Request, _path: "FaultyPath") -> web.StreamResponse:
        return web.json_response(_status(code, reason, message), status=code)

    return answer


def error_event(code: int, reason: str) -> Fault:
    """Begin a watch and end it with an ERROR event, as an API server does."""

    async def answer(_request: web.Request, _path: "FaultyPath") -> web.StreamResponse:
        event = {"type": "ERROR", "object": _status(code, reason, "")}
        return web.Response(text=json.dumps(event) + "\n", content_type="application/json")

    return answer


async def lost(request: web.Request, path: "FaultyPath") -> web.StreamResponse:
    """Have the request carried out, and drop the connection instead of answering."""
    await path.forward(request)
    _drop(request)
    return web.Response()


def held(until: asyncio.Event) -> Fault:
    """Hold a request back."""

    async def answer(request: web.Request, path: "FaultyPath") -> web.StreamResponse:
        await until.wait()
        return await path.forward(request)

    return answer


def _status(code: int, reason: str, message: str) -> dict[str, object]:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "code": code,
        "reason": reason,
        "message": message,
    }


def _drop(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


@dataclass
class Stream:
    """An open watch."""

    resource: str
    request: web.Request
    torn: bool = False


@dataclass
class FaultyPath:
    """The proxy. Use as an async context manager, then give `kubeconfig` to the operator."""

    original: Path
    """The kubeconfig, with a token, by which the API server is reached."""
    administrator: Path
    directory: Path
    log: list[tuple[Call, int]] = field(default_factory=list)
    """What the API server was asked, and its answer's status."""
    muted: set[str] = field(default_factory=set)
    """Resources whose watches deliver nothing."""
    _once: dict[tuple[str, str], list[Fault]] = field(default_factory=lambda: defaultdict(list))
    _always: dict[tuple[str, str], Fault] = field(default_factory=dict)
    _streams: list[Stream] = field(default_factory=list)

    async def __aenter__(self) -> Self:
        self.directory.mkdir(parents=True, exist_ok=True)
        authority = Authority(self.directory)
        pair = authority.server("proxy", addresses=[LOOPBACK], dns_names=["localhost"])
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(pair.certificate, pair.key)
        self._server, client_tls = reached_by(self.administrator)
        # the operator is known by its token alone
        roots = ssl.create_default_context()
        for certificate in client_tls.get_ca_certs(binary_form=True):
            roots.load_verify_locations(cadata=certificate)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=roots, limit=0),
            timeout=aiohttp.ClientTimeout(total=None),
        )
        app = web.Application(client_max_size=2**26)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, LOOPBACK, 0, ssl_context=tls).start()
        port = self._runner.addresses[0][1]
        user = yaml.safe_load(self.original.read_text())["users"][0]["user"]
        self.kubeconfig = write_kubeconfig(
            self.directory / "proxied.kubeconfig",
            cluster=verified(f"https://{LOOPBACK}:{port}", authority.certificate.read_bytes()),
            user=user,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()
        await self._session.close()

    # What goes wrong

    def once(self, verb: str, resource: str, fault: Fault) -> None:
        """Have a fault befall the next such request."""
        self._once[verb, resource].append(fault)

    def always(self, verb: str, resource: str, fault: Fault) -> None:
        """Have a fault befall every such request from now on."""
        self._always[verb, resource] = fault

    def well(self) -> None:
        """Let everything pass again."""
        self._once.clear()
        self._always.clear()
        self.muted.clear()

    def cut(self, resource: str) -> int:
        """Drop the open watches of a resource; return how many there were."""
        streams = [stream for stream in self._streams if stream.resource == resource]
        for stream in streams:
            _drop(stream.request)
        return len(streams)

    def tear(self, resource: str) -> None:
        """Drop the open watches of a resource in the middle of their next event."""
        for stream in self._streams:
            stream.torn = stream.torn or stream.resource == resource

    def watched(self, resource: str) -> int:
        """Return how many watches of a resource are open."""
        return sum(stream.resource == resource for stream in self._streams)

    # Passing on

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        call = Call.of(request)
        faults = self._once[call.verb, call.resource]
        fault = faults.pop(0) if faults else self._always.get((call.verb, call.resource))
        return await (fault(request, self) if fault else self.forward(request))

    async def forward(self, request: web.Request) -> web.StreamResponse:
        """Pass a request on and return the answer."""
        call = Call.of(request)
        headers = {name: text for name, text in request.headers.items() if name.lower() not in _HOP}
        try:
            answer = await self._session.request(
                request.method,
                f"{self._server}{request.path_qs}",
                headers={**headers, "Accept-Encoding": "identity"},
                data=await request.read(),
            )
        except aiohttp.ClientError:
            _drop(request)
            return web.Response()
        async with answer:
            self.log.append((call, answer.status))
            if call.verb == "WATCH" and answer.status == 200:
                return await self._stream(Stream(call.resource, request), answer)
            kind = {"Content-Type": answer.headers.get("Content-Type", "application/json")}
            return web.Response(body=await answer.read(), status=answer.status, headers=kind)

    async def _stream(self, stream: Stream, answer: aiohttp.ClientResponse) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(stream.request)
        self._streams.append(stream)
        try:
            async for chunk in answer.content.iter_any():
                if stream.resource in self.muted:
                    continue
                if stream.torn:
                    await response.write(chunk[: len(chunk) // 2])
                    _drop(stream.request)
                    break
                await response.write(chunk)
        except (aiohttp.ClientError, ConnectionError):
            _drop(stream.request)
        finally:
            self._streams.remove(stream)
        return response
