"""An OTLP/HTTP receiver on loopback, which decodes the spans that it gets."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Received

from tests.patience import PATIENCE
from troth.serving.otel import OTelTracer


@dataclass(frozen=True)
class Seen:
    """A span as it arrived."""

    name: str
    kind: str
    trace_id: str
    span_id: str
    parent: str
    attributes: dict[str, Any]
    failed: bool
    links: tuple[tuple[str, str], ...]
    events: int


@dataclass
class Collector:
    """What arrived. While `open` is not set, no export is answered."""

    port: int = 0
    bodies: list[bytes] = field(default_factory=list)
    open: threading.Event = field(default_factory=threading.Event)
    asked: threading.Event = field(default_factory=threading.Event)
    status: int = 200

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def spans(self) -> list[Seen]:
        return [_seen(span) for request in self._requests() for span in _spans(request)]

    @property
    def resources(self) -> list[dict[str, Any]]:
        """The programs that sent the exports, in order of arrival."""
        return [
            _attributes(each.resource.attributes)
            for request in self._requests()
            for each in request.resource_spans
        ]

    def one(self, name: str) -> Seen:
        (found,) = (span for span in self.spans if span.name == name)
        return found

    def _requests(self) -> Iterator[ExportTraceServiceRequest]:
        for body in list(self.bodies):
            request = ExportTraceServiceRequest()
            request.ParseFromString(body)
            yield request


@contextmanager
def collecting() -> Iterator[Collector]:
    collector = Collector()
    collector.open.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            collector.asked.set()
            collector.open.wait(PATIENCE)
            collector.bodies.append(body)
            self.send_response(collector.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    collector.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield collector
    finally:
        collector.open.set()
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def traced(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, **environment: str
) -> Iterator[OTelTracer]:
    """A tracer that sends to a collector; all its spans have arrived at the end."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    tracer = OTelTracer("troth-test")
    try:
        yield tracer
    finally:
        tracer.close()


def _spans(request: ExportTraceServiceRequest) -> Iterator[Received]:
    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            yield from scope.spans


def _seen(span: Received) -> Seen:
    return Seen(
        span.name,
        Received.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        _attributes(span.attributes),
        span.status.code == 2,
        tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
        len(span.events),
    )


def _attributes(pairs: Any) -> dict[str, Any]:
    return {
        pair.key: getattr(pair.value, pair.value.WhichOneof("value") or "string_value")
        for pair in pairs
    }
