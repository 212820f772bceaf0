"""The proxy that forwards requests, records them, and injects faults into requests and watches."""

import asyncio
import base64
import ssl
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import aiohttp
import yaml
from aiohttp import web

from sandbox.certificates import Authority
from sandbox.kubeconfig import verified, write_kubeconfig

LOOPBACK = "127.0.0.1"
_HOP = {"host", "content-length", "transfer-encoding", "connection", "accept-encoding"}
_READS = {"GET", "HEAD", "WATCH"}


@dataclass(frozen=True, slots=True)
class Call:
    """One request: its verb and resource; `verb` is the method, or WATCH."""

    verb: str
    resource: str
    path: str
    at: float
    """Time at which the whole request had arrived, on the monotonic clock."""

    @classmethod
    def of(cls, request: web.Request) -> Self:
        """Return the call that a request makes."""
        parts = request.path.strip("/").split("/")
        rest = (parts[2:] if parts[0] == "api" else parts[3:]) or [""]  # other paths of the server
        if rest[0] == "namespaces" and len(rest) > 2:  # noqa: PLR2004 - not a Namespace itself
            rest = rest[2:]
        watches = request.query.get("watch", "").lower() in ("true", "1")
        verb = "WATCH" if watches else request.method
        return cls(verb, rest[0], request.path, time.monotonic())

    @property
    def writes(self) -> bool:
        """Whether the request changes anything."""
        return self.verb not in _READS


Fault = Callable[[web.Request, "FaultyPath"], Awaitable[web.StreamResponse]]
"""A handler that answers a request with a fault; `FaultyPath.forward` is the default handler."""


def drop(request: web.Request) -> None:
    """Drop the connection of a request."""
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
    """The proxy. Use it as an async context manager, then give `kubeconfig` to the operator."""

    original: Path
    """Kubeconfig, with a token, for the API server."""
    directory: Path
    """Directory for the proxy's own files."""
    asked: list[Call] = field(default_factory=list)
    """All requests that arrived, with or without a fault."""
    log: list[tuple[Call, int]] = field(default_factory=list)
    """Forwarded requests, each with the status of the API server's response."""
    muted: set[str] = field(default_factory=set)
    """Resources whose watches deliver no events."""
    reads_from: str = ""
    writes_to: str = ""
    """URLs of the API servers that get the reads and the writes, at first the kubeconfig's."""
    withheld: dict[str, asyncio.Event] = field(default_factory=dict)
    """Resources whose watches deliver their events only once an event of asyncio is set."""
    _once: dict[tuple[str, str], list[Fault]] = field(default_factory=lambda: defaultdict(list))
    _always: dict[tuple[str, str], Fault] = field(default_factory=dict)
    _streams: list[Stream] = field(default_factory=list)
    _under_way: set[asyncio.Task[Any]] = field(default_factory=set)

    async def __aenter__(self) -> Self:
        self.directory.mkdir(parents=True, exist_ok=True)
        authority = Authority(self.directory)
        pair = authority.server("proxy", addresses=[LOOPBACK], dns_names=["localhost"])
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(pair.certificate, pair.key)
        config = yaml.safe_load(self.original.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self.reads_from = self.writes_to = cluster["server"]
        roots = base64.b64decode(cluster["certificate-authority-data"]).decode()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=ssl.create_default_context(cadata=roots), limit=0),
            timeout=aiohttp.ClientTimeout(total=None),
        )
        app = web.Application(client_max_size=2**26)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, LOOPBACK, 0, ssl_context=tls).start()
        port = self._runner.addresses[0][1]
        self.kubeconfig = write_kubeconfig(
            self.directory / "proxied.kubeconfig",
            cluster=verified(f"https://{LOOPBACK}:{port}", authority.certificate.read_bytes()),
            user=user,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)
        await self._session.close()

    # Faults

    def once(self, verb: str, resource: str, fault: Fault) -> None:
        """Apply a fault to the next request of that verb and resource."""
        self._once[verb, resource].append(fault)

    def always(self, verb: str, resource: str, fault: Fault) -> None:
        """Apply a fault to every request of that verb and resource from now on."""
        self._always[verb, resource] = fault

    def well(self) -> None:
        """Remove all faults."""
        self._once.clear()
        self._always.clear()
        self.muted.clear()

    def cut(self, resource: str) -> int:
        """Drop the open watches of a resource; return how many there were."""
        streams = [stream for stream in self._streams if stream.resource == resource]
        for stream in streams:
            drop(stream.request)
        return len(streams)

    def cut_all(self) -> None:
        """Drop every open watch."""
        for resource in {stream.resource for stream in self._streams}:
            self.cut(resource)

    def tear(self, resource: str) -> None:
        """Drop the open watches of a resource in the middle of their next event."""
        for stream in self._streams:
            stream.torn = stream.torn or stream.resource == resource

    def watched(self, resource: str) -> int:
        """Return how many watches of a resource are open."""
        return sum(stream.resource == resource for stream in self._streams)

    # Forwarding

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        await request.read()
        call = Call.of(request)
        self.asked.append(call)
        faults = self._once[call.verb, call.resource]
        fault = faults.pop(0) if faults else self._always.get((call.verb, call.resource))
        return await (fault(request, self) if fault else self.forward(request))

    async def see_through(
        self, answer: Coroutine[Any, Any, web.StreamResponse]
    ) -> web.StreamResponse:
        """Complete a response even if the client no longer waits for it."""
        task = asyncio.create_task(answer)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return await asyncio.shield(task)

    async def forward(self, request: web.Request) -> web.StreamResponse:
        """Forward a request and return the response."""
        call = Call.of(request)
        headers = {name: text for name, text in request.headers.items() if name.lower() not in _HOP}
        try:
            answer = await self._session.request(
                request.method,
                f"{self.writes_to if call.writes else self.reads_from}{request.path_qs}",
                headers={**headers, "Accept-Encoding": "identity"},
                data=await request.read() or None,
            )
        except aiohttp.ClientError:
            drop(request)
            return web.Response()
        async with answer:
            self.log.append((call, answer.status))
            if call.verb == "WATCH" and answer.status == 200:  # noqa: PLR2004 - else an error
                return await self._stream(Stream(call.resource, request), answer)
            told = {name: text for name, text in answer.headers.items() if name.lower() not in _HOP}
            return web.Response(body=await answer.read(), status=answer.status, headers=told)

    async def _stream(self, stream: Stream, answer: aiohttp.ClientResponse) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(stream.request)
        self._streams.append(stream)
        try:
            async for chunk in answer.content.iter_any():
                if (until := self.withheld.get(stream.resource)) is not None:
                    await until.wait()
                if stream.resource in self.muted:
                    continue
                if stream.torn:
                    await response.write(chunk[: len(chunk) // 2])
                    drop(stream.request)
                    break
                await response.write(chunk)
        except (aiohttp.ClientError, ConnectionError):
            drop(stream.request)
        finally:
            self._streams.remove(stream)
        return response
