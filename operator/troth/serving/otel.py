"""OpenTelemetry's SDK as a `Tracer`: only imported if the environment switches traces on.

Spans wait in a queue of bounded size, and a thread of the SDK sends them. If the collector is slow
or away, the oldest spans are dropped; nothing waits for it.

The tracer is not registered globally, so that libraries do not make spans of their own, whose
attributes Troth does not choose.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from threading import Thread

import structlog
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from troth.serving.tracing import Attributes, Span, SpanKind

LONGEST = 256
"""Maximum number of characters of an attribute."""
MOST = 32
"""Maximum number of attributes of a span."""
CLOSE_WITHIN = 3.0
"""Seconds that the end of the process waits for the last spans to be sent."""
SELDOM = 60.0
"""Minimum seconds between two log lines about spans that could not be sent."""

_KINDS = {
    SpanKind.INTERNAL: trace.SpanKind.INTERNAL,
    SpanKind.SERVER: trace.SpanKind.SERVER,
    SpanKind.CLIENT: trace.SpanKind.CLIENT,
}
_W3C = TraceContextTextMapPropagator()

log = structlog.get_logger()


class OTelTracer:
    """Makes spans and sends them as the standard environment variables say (`OTEL_...`)."""

    def __init__(self, service: str) -> None:
        """Start the thread that sends. `service` is the name unless `OTEL_SERVICE_NAME` is set."""
        # messages quote headers for the collector, its answers, and the endpoint; those of the SDK
        # say that the queue is full
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        logging.getLogger("opentelemetry.sdk").setLevel(logging.WARNING)
        own = Resource({SERVICE_NAME: service, SERVICE_VERSION: version("troth")})
        named = Resource.create()
        if str(named.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
            named = named.merge(own)
        else:
            named = own.merge(named)
        self._provider = TracerProvider(
            resource=named,
            shutdown_on_exit=False,
            span_limits=SpanLimits(
                max_attributes=MOST,
                max_span_attributes=MOST,
                max_events=0,
                max_links=1,
                max_attribute_length=LONGEST,
                max_span_attribute_length=LONGEST,
            ),
        )
        self._provider.add_span_processor(BatchSpanProcessor(_Reporting(OTLPSpanExporter())))
        self._tracer = self._provider.get_tracer("troth", version("troth"))

    @contextmanager
    def span(
        self,
        name: str,
        attributes: Attributes,
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        parent: Mapping[str, str] | None = None,
        expected: tuple[type[BaseException], ...] = (),
    ) -> Iterator[Span]:
        """Return a span; see `tracing.Tracer`."""
        context = None if parent is None else _W3C.extract(parent, Context())
        with self._tracer.start_as_current_span(
            name,
            context,
            _KINDS[kind],
            attributes,
            record_exception=False,  # a message may contain a secret
            set_status_on_exception=False,
        ) as made:
            span = _Span(made)
            try:
                yield span
            except expected:
                raise
            except BaseException as error:
                span.fail(type(error).__name__)
                raise

    def current(self) -> Span:
        """Return the current span; see `tracing.Tracer`."""
        return _Span(trace.get_current_span())

    def headers(self) -> dict[str, str]:
        """Return the headers of the current trace; see `tracing.Tracer`."""
        carrier: dict[str, str] = {}
        _W3C.inject(carrier)
        return carrier

    def close(self) -> None:
        """Send the last spans, and give up after `CLOSE_WITHIN`."""
        closing = Thread(target=self._provider.shutdown, name="end of traces", daemon=True)
        closing.start()
        closing.join(CLOSE_WITHIN)


class _Span:
    def __init__(self, made: trace.Span) -> None:
        self._made = made

    def set(self, attributes: Attributes) -> None:
        self._made.set_attributes(attributes)

    def fail(self, error_type: str) -> None:
        self._made.set_attribute("error.type", error_type)
        self._made.set_status(trace.StatusCode.ERROR)

    def link(self, headers: Mapping[str, str]) -> None:
        linked = trace.get_current_span(_W3C.extract(headers, Context())).get_span_context()
        if linked.is_valid:
            self._made.add_link(linked)


class _Reporting(SpanExporter):
    """Logs, seldom, that spans could not be sent; no error leaves it."""

    def __init__(self, exporter: SpanExporter, clock: Callable[[], float] = time.monotonic) -> None:
        self._exporter = exporter
        self._clock = clock
        self._lost = 0
        self._quiet_until = clock()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        try:
            result = self._exporter.export(spans)
        except Exception as error:  # noqa: BLE001 - traces must not fail what they describe
            self._report(len(spans), type(error).__name__)
            return SpanExportResult.FAILURE
        if result is not SpanExportResult.SUCCESS:
            self._report(len(spans), "the collector did not accept them")
        return result

    def _report(self, lost: int, why: str) -> None:
        self._lost += lost
        if self._clock() >= self._quiet_until:
            log.warning(
                "spans lost; check OTEL_EXPORTER_OTLP_ENDPOINT and the collector",
                spans=self._lost,
                why=why,
            )
            self._lost, self._quiet_until = 0, self._clock() + SELDOM

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return self._exporter.force_flush(timeout_millis)
