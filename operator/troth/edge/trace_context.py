"""W3C Trace Context, forwarded and never made up.

Of the two levels of the recommendation (section "Processing Model"), Troth *forwards* and does not
*participate*: a participant must put the ID of its own span into `traceparent`, and since Troth
records no spans, such an ID would be a parent that nobody ever finds. So the headers of the request
that is being served go out as they came in, and a program that traces (OpenTelemetry, say) sets its
own, which are left alone. What is not well-formed is dropped, never mended.
"""

import re
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
_CHARACTERS = 256  # of a traceparent; one of version 00 has 55
_STATE_CHARACTERS = 4096  # at least 512 are to be carried


@dataclass(frozen=True, slots=True)
class TraceContext:
    """One request's place in its trace: both headers as they came, `tracestate` empty if none."""

    traceparent: str
    tracestate: str = ""

    @property
    def headers(self) -> dict[str, str]:
        """The headers to send on."""
        state = {TRACESTATE: self.tracestate} if self.tracestate else {}
        return {TRACEPARENT: self.traceparent} | state


def read_trace(traceparents: Iterable[str], tracestates: Iterable[str] = ()) -> TraceContext | None:
    """Return the trace of a request, from the values of its headers in their order.

    Strict, after "Trace Context HTTP Request Headers Format": exactly one `traceparent`; of version
    00 all of it is judged; of a later one only the prefix and that it is not absurdly long
    (forwarding does no further validation); `ff` is no version. A bad `tracestate` is dropped and
    leaves `traceparent` as it is; without `traceparent` it is not even read. Never raises.
    """
    parents = tuple(traceparents)
    if len(parents) != 1 or not _is_parent(parents[0].strip(" \t")):
        return None
    return TraceContext(parents[0].strip(" \t"), _state(tracestates))


def _is_parent(value: str) -> bool:
    prefix = _PREFIX.fullmatch(value)
    if prefix is None or len(value) > _CHARACTERS or prefix["version"] == "ff":
        return False
    return prefix["version"] != "00" or _VERSION_00.fullmatch(value) is not None


def _state(values: Iterable[str]) -> str:
    """Return the combined list, or nothing when any member of it is not well-formed."""
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
