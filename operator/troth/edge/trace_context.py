"""W3C Trace Context: forwarded, and never created.

Of the two levels in the recommendation (section "Processing Model"), `troth.edge` *forwards* and
does not *participate*. A participant puts the ID of its own span into `traceparent`. `troth.edge`
records no spans, so such an ID would name a parent that does not exist. Therefore an outbound call
gets the service's current span if the service uses OpenTelemetry, else the headers of the request
being served, unchanged. Headers that the program has set itself are not changed. Malformed headers
are dropped and never repaired.
"""

import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass

TRACEPARENT = "traceparent"
TRACESTATE = "tracestate"

_PREFIX = re.compile(r"(?P<version>[0-9a-f]{2})-[\x21-\x7e]+")
_VERSION_00 = re.compile(
    r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}", flags=re.ASCII
)
_MEMBER = re.compile(r"(?P<key>[a-z0-9][a-z0-9_\-*/@]{0,255})=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{1,256}")
_MEMBERS = 32
_CHARACTERS = 256  # maximum of a traceparent; version 00 has 55
_STATE_CHARACTERS = 4096  # the recommendation requires at least 512


@dataclass(frozen=True, slots=True)
class TraceContext:
    """A request's trace: both headers as they arrived, `tracestate` empty if there is none."""

    traceparent: str
    tracestate: str = ""

    @property
    def headers(self) -> dict[str, str]:
        """The headers to forward."""
        state = {TRACESTATE: self.tracestate} if self.tracestate else {}
        return {TRACEPARENT: self.traceparent} | state


def read_trace(traceparents: Iterable[str], tracestates: Iterable[str] = ()) -> TraceContext | None:
    """Return the trace of a request, from the values of its headers in their order.

    Parsing is strict, as "Trace Context HTTP Request Headers Format" requires. There must be
    exactly one `traceparent`. Version 00 is checked completely. Of a later version, only the prefix
    and a maximum length are checked, because forwarding requires no further validation. Version
    `ff` is invalid. A malformed `tracestate` is dropped and does not affect `traceparent`. Without
    a `traceparent`, `tracestate` is ignored. Returns None without a valid `traceparent`; never
    raises.
    """
    parents = tuple(traceparents)
    if len(parents) != 1 or not _is_parent(parents[0].strip(" \t")):
        return None
    return TraceContext(parents[0].strip(" \t"), _state(tracestates))


def current_trace() -> TraceContext | None:
    """Return the service's current OpenTelemetry span as a trace, None if it has none.

    Reads the API only if the service has imported it. A service without OpenTelemetry does not need
    it, and nothing is imported here. Source: OpenTelemetry's specification "Tracing API",
    SpanContext.
    """
    api = sys.modules.get("opentelemetry.trace")
    if api is None:
        return None
    span = api.get_current_span().get_span_context()
    if not span.is_valid:
        return None
    parent = f"00-{span.trace_id:032x}-{span.span_id:016x}-{span.trace_flags:02x}"
    return read_trace([parent], [span.trace_state.to_header()])


def _is_parent(value: str) -> bool:
    prefix = _PREFIX.fullmatch(value)
    if prefix is None or len(value) > _CHARACTERS or prefix["version"] == "ff":
        return False
    return prefix["version"] != "00" or _VERSION_00.fullmatch(value) is not None


def _state(values: Iterable[str]) -> str:
    """Return the combined list, "" if any member is malformed."""
    combined = ",".join(values)
    members = [each.strip(" \t") for each in combined.split(",")]
    matches = [_MEMBER.fullmatch(each) for each in members if each]
    keys = [match["key"] for match in matches if match]
    sound = (
        len(combined) <= _STATE_CHARACTERS
        and len(members) <= _MEMBERS
        and len(keys) == len(matches) == len(set(keys))
    )
    return combined.strip(" \t") if sound and keys else ""
