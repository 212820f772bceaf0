"""Traces: the interface to OpenTelemetry, and the environment variables that switch it on.

This module does not import OpenTelemetry. A program whose environment does not switch tracing on
has no tracer (`None`), and `otel` is never imported.
"""

import re
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from enum import Enum
from typing import Protocol
from urllib.parse import urlsplit

Value = str | int | bool
Attributes = Mapping[str, Value]

NOTHING: AbstractContextManager[None] = nullcontext()
"""Takes the place of a span without a tracer. It is shared, so that it costs nothing."""

_EXPORTER = "OTEL_TRACES_EXPORTER"
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_PROTOCOL = "http/protobuf"
_HEADERS = ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS")
_HEADER = re.compile(r"\s*[A-Za-z0-9!#$%&'*+.^_`|~-]+\s*=[^\r\n]*")
_SAMPLER = "OTEL_TRACES_SAMPLER"
_SAMPLERS = ("always_on", "always_off", "traceidratio")


class SpanKind(Enum):
    """Relation of a span to other programs, as OpenTelemetry defines it."""

    INTERNAL = "internal"
    SERVER = "server"
    CLIENT = "client"


class Span(Protocol):
    """A span in progress."""

    def set(self, attributes: Attributes) -> None:
        """Set attributes. Each value is cut to 256 characters."""

    def fail(self, error_type: str) -> None:
        """Mark the span as failed. `error_type` is one word, and never a message."""

    def link(self, headers: Mapping[str, str]) -> None:
        """Link the span to the trace of the headers `traceparent` and `tracestate`."""


class Tracer(Protocol):
    """Makes the spans of one program; see `otel.OTelTracer`."""

    def span(
        self,
        name: str,
        attributes: Attributes,
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        parent: Mapping[str, str] | None = None,
        expected: tuple[type[BaseException], ...] = (),
    ) -> AbstractContextManager[Span]:
        """Return a span that is the current one in the body of `with`.

        Its parent is the current span. With `parent`, it is the span of the headers in there, and
        none without a header. An exception that leaves the body marks the span as failed by the
        name of its type, unless it is `expected`; its message is not recorded.
        """

    def current(self) -> Span:
        """Return the current span."""

    def headers(self) -> dict[str, str]:
        """Return the headers that make a request part of the current trace (W3C Trace Context)."""


class TracingError(Exception):
    """An environment variable of OpenTelemetry cannot be used; the message says which and why."""


def switched_on(environment: Mapping[str, str]) -> bool:
    """Return whether the environment switches traces on; raises `TracingError`.

    They are on with an OTLP endpoint or with `OTEL_TRACES_EXPORTER=otlp`. An empty variable counts
    as unset. Source: OpenTelemetry's specifications "Environment Variable Specification" and
    "OpenTelemetry Protocol Exporter".
    """
    exporter = environment.get(_EXPORTER, "").strip()
    endpoint = _first(environment, _ENDPOINTS)
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true" or exporter == "none":
        return False
    if exporter not in {"", "otlp"}:
        raise TracingError(f"{_EXPORTER}: {exporter!r} is not supported; write otlp or none")
    if not exporter and endpoint is None:
        return False
    protocol = _first(environment, _PROTOCOLS)
    if protocol is not None and protocol[1] != _PROTOCOL:
        raise TracingError(f"{protocol[0]}: {protocol[1]!r} is not supported; write {_PROTOCOL}")
    if endpoint is not None and not _is_url(endpoint[1]):  # it may have a password, so no quote
        raise TracingError(f"{endpoint[0]}: not a URL; write for example http://collector:4318")
    headers = _first(environment, _HEADERS)
    if headers is not None and not all(map(_HEADER.fullmatch, headers[1].strip(",").split(","))):
        raise TracingError(f"{headers[0]}: not a list of headers; write name=value,name=value")
    sampler = environment.get(_SAMPLER, "").strip().lower()
    if sampler and sampler.removeprefix("parentbased_") not in _SAMPLERS:
        named = ", ".join(_SAMPLERS)
        raise TracingError(
            f"{_SAMPLER}: {sampler!r} is not supported; write one of {named}, or one of them after "
            "parentbased_"
        )
    return True


def _first(environment: Mapping[str, str], names: tuple[str, ...]) -> tuple[str, str] | None:
    """Return name and value of the first variable that is set."""
    found = ((name, environment.get(name, "").strip()) for name in names)
    return next(((name, value) for name, value in found if value), None)


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname)
