"""The spans of a delivery. They never hold a body, a signature, a query or a secret.

The names of attributes are those of OpenTelemetry's semantic conventions for HTTP, and `troth.…`
for all others. Of the sender's headers, only the content type of a verified delivery is recorded.

A sender's `traceparent` is not continued: nobody has signed it, and its flag would decide what the
gateway records. The span of a verified delivery links to it.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from troth.documents.webhook_endpoint import Target
from troth.edge.trace_context import TRACEPARENT, read_trace
from troth.pki.tokens.signing import is_text
from troth.serving.logs import escaped
from troth.serving.tracing import NOTHING, Span, SpanKind, Tracer
from troth.webhooks.gateway.answers import RefusalError
from troth.webhooks.gateway.connection.body import Headers
from troth.webhooks.gateway.decisions import Decision
from troth.webhooks.gateway.forwarding.client import TargetUnavailableError
from troth.webhooks.gateway.routes import Served

_AUTHENTIC = frozenset({"verified", "unsigned"})
_CLIENT_ERROR, _SERVER_ERROR = 400, 500


def delivery_span(
    tracer: Tracer | None, served: Served | None, method: str, headers: Headers, decision: Decision
) -> AbstractContextManager[None]:
    """Return the server span of a request to an endpoint, filled in from `decision` at its end.

    A request for an unknown path has none: a scan for endpoints must not fill the traces.
    """
    if tracer is None or served is None:
        return NOTHING
    return _delivery(tracer, served, method, headers, decision)


@contextmanager
def _delivery(
    tracer: Tracer, served: Served, method: str, headers: Headers, decision: Decision
) -> Iterator[None]:
    endpoint = served.endpoint
    # any other method is rejected, and senders could write anything there
    method = method if method == "POST" else "_OTHER"
    about = {
        "http.request.method": method,
        "http.route": endpoint.path,
        "url.path": endpoint.path,
        "troth.webhook.endpoint": endpoint.endpoint,
        "troth.webhook.scheme": str(endpoint.signing.name),
    }
    with tracer.span(f"{method} {endpoint.path}", about, kind=SpanKind.SERVER, parent={}) as span:
        try:
            yield
        finally:
            identifier = decision.delivery_id
            found = {
                "troth.webhook.verification": decision.verification,
                "troth.webhook.replay": decision.replay,
                "troth.webhook.reason": decision.reason,
                "troth.webhook.workflow": decision.workflow,
                "troth.webhook.delivery_id": identifier if is_text(identifier) else "",
                "troth.transaction": decision.txn,
            }
            span.set({name: value for name, value in found.items() if value})
            if decision.status:
                span.set({"http.response.status_code": decision.status})
            if decision.status >= _SERVER_ERROR:
                span.fail(decision.reason)
            if decision.verification in _AUTHENTIC:
                _add_headers(span, headers)


def _add_headers(span: Span, headers: Headers) -> None:
    """Record what the sender of a verified delivery said of its content and of its trace."""
    for value in _values(headers, b"content-type")[:1]:
        span.set({"http.request.header.content-type": escaped(value)})
    sent = read_trace(_values(headers, TRACEPARENT.encode()))
    if sent is not None:  # without `tracestate`, which may hold anything
        span.link(sent.headers)


def _values(headers: Headers, name: bytes) -> list[str]:
    return [value.decode("latin-1") for each, value in headers if each == name]


def verification_span(
    tracer: Tracer | None, served: Served, decision: Decision
) -> AbstractContextManager[None]:
    """Return the span of a verification. A rejected delivery is a result, and no failure."""
    return NOTHING if tracer is None else _verification(tracer, served, decision)


@contextmanager
def _verification(tracer: Tracer, served: Served, decision: Decision) -> Iterator[None]:
    about = {
        "troth.webhook.endpoint": served.endpoint.endpoint,
        "troth.webhook.scheme": str(served.endpoint.signing.name),
    }
    with tracer.span("verify", about, expected=(RefusalError,)) as span:
        try:
            yield
        except RefusalError as refusal:
            span.set({"troth.webhook.reason": refusal.answered.reason})
            raise
        finally:
            span.set({"troth.webhook.verification": decision.verification})


def forwarding_span(
    tracer: Tracer | None, target: Target, headers: dict[str, str], decision: Decision
) -> AbstractContextManager[None]:
    """Return the client span of a request to a target, and add its trace to the `headers`."""
    return NOTHING if tracer is None else _forwarding(tracer, target, headers, decision)


@contextmanager
def _forwarding(
    tracer: Tracer, target: Target, headers: dict[str, str], decision: Decision
) -> Iterator[None]:
    about: dict[str, str | int] = {
        "http.request.method": "POST",
        "server.address": target.host,
        "server.port": target.port,
        "url.path": target.path,
        "troth.target": target.spiffe_id,
        "troth.transaction": decision.txn,
    }
    expected = (TargetUnavailableError,)
    with tracer.span("POST", about, kind=SpanKind.CLIENT, expected=expected) as span:
        headers |= tracer.headers()
        try:
            yield
        except TargetUnavailableError as error:
            span.fail(error.reason)
            raise
        if decision.target_status:
            span.set({"http.response.status_code": decision.target_status})
        if decision.target_status >= _CLIENT_ERROR:
            span.fail(str(decision.target_status))
