"""The span of a token request. It never holds a token, or a text of a caller that was rejected.

The request's `traceparent` is continued if TLS has verified the caller's certificate: callers are
workloads, unlike a webhook's sender. Without a certificate, the span begins a trace of its own, so
that nobody else decides what the issuer records.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from troth.edge.inbound.asgi import chain_of
from troth.edge.trace_context import TRACEPARENT, TRACESTATE, read_trace
from troth.issuer.decisions import ISSUED, Decision
from troth.issuer.discovery import TOKENS
from troth.issuer.errors import Code
from troth.serving.tracing import NOTHING, SpanKind, Tracer


def token_span(
    tracer: Tracer | None, scope: Mapping[str, Any], decision: Decision
) -> AbstractContextManager[None]:
    """Return the server span of a token request, filled in from `decision` at its end."""
    return NOTHING if tracer is None else _token(tracer, scope, decision)


@contextmanager
def _token(tracer: Tracer, scope: Mapping[str, Any], decision: Decision) -> Iterator[None]:
    about = {"http.request.method": "POST", "http.route": TOKENS, "url.path": TOKENS}
    parent = _parent(scope)
    with tracer.span(f"POST {TOKENS}", about, kind=SpanKind.SERVER, parent=parent) as span:
        try:
            yield
        finally:
            found = {
                "troth.token.grant": decision.grant,
                "troth.token.outcome": decision.outcome,
                "troth.client": decision.caller,
            }
            if decision.outcome == ISSUED:
                found |= {
                    "troth.token.audience": decision.audience,
                    "troth.token.scope": decision.scope,
                    "troth.token.id": decision.token_id,
                }
            span.set({name: value for name, value in found.items() if value})
            if decision.status:
                span.set({"http.response.status_code": decision.status})
            if decision.outcome == Code.TEMPORARILY_UNAVAILABLE:
                span.fail(decision.outcome)


def _parent(scope: Mapping[str, Any]) -> dict[str, str]:
    if not chain_of(scope):
        return {}
    trace = read_trace(_values(scope, TRACEPARENT), _values(scope, TRACESTATE))
    return trace.headers if trace is not None else {}


def _values(scope: Mapping[str, Any], name: str) -> list[str]:
    return [value.decode("latin-1") for each, value in scope["headers"] if each == name.encode()]
