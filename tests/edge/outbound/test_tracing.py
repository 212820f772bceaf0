"""The trace of an outbound call: the program's own span, else that of the served request."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import SpanContext

from tests.edge.outbound.test_calls import Files, call
from troth.edge.inbound.caller import CALLER, Caller
from troth.edge.trace_context import TraceContext

SERVED = TraceContext("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "congo=t61")


@pytest.fixture
def span() -> Iterator[SpanContext]:
    """The program's current span."""
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("shop")
    with tracer.start_as_current_span("checkout") as started:
        yield started.get_span_context()


@contextmanager
def serving() -> Iterator[None]:
    reset = CALLER.set(Caller("spiffe://x/y", frozenset(), trace=SERVED))
    try:
        yield
    finally:
        CALLER.reset(reset)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def sent(files: Files, given: dict[str, str] | None = None) -> dict[str, str]:
    headers = call(files).headers((given or {}).get, None)
    return {name: value for name, value in headers.items() if name.startswith("trace")}


def test_call_continues_the_programs_current_span(files: Files, span: SpanContext) -> None:
    with serving():
        headers = sent(files)
    parent = f"00-{span.trace_id:032x}-{span.span_id:016x}-{span.trace_flags:02x}"
    assert headers == {"traceparent": parent}


def test_call_without_a_span_continues_the_served_request(files: Files) -> None:
    assert "opentelemetry.trace" in sys.modules
    with serving():
        assert sent(files) == SERVED.headers
    assert sent(files) == {}


@pytest.mark.usefixtures("span")
def test_header_of_the_program_is_not_changed(files: Files) -> None:
    with serving():
        assert sent(files, {"traceparent": "its own"}) == {}


def test_edge_does_not_import_opentelemetry() -> None:
    program = (
        "import sys; import troth.edge.outbound.calls; "
        "from troth.edge.trace_context import current_trace; assert current_trace() is None; "
        "assert not [name for name in sys.modules if name.startswith('opentelemetry')]"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
