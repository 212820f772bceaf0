"""The spans of token requests, as a collector gets them."""

import pytest
from httpx import Response

from tests.issuer.builders import CHECKOUT, PAYMENTS, KnownAccounts, client, configuration, svid
from tests.serving.collector import collecting, traced
from troth.issuer.configuration import IssuerConfiguration
from troth.issuer.decisions import Decisions
from troth.issuer.endpoint import app
from troth.serving.tracing import Tracer

FOR_PAYMENTS = {"grant_type": "client_credentials", "audience": PAYMENTS}
TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"
CANARY = "kanarie-4711"


async def asked(
    tracer: Tracer,
    form: dict[str, str],
    certificate: bytes | None = None,
    current: IssuerConfiguration | None = None,
    **headers: str,
) -> Response:
    application = app(lambda: current, KnownAccounts(), Decisions(), tracer=tracer)
    async with client(application, certificate) as caller:
        return await caller.post("/token", data=form, headers=headers)


async def test_token_request_is_traced_with_its_client(monkeypatch: pytest.MonkeyPatch) -> None:
    with collecting() as collector:
        with traced(collector, monkeypatch) as tracer:
            answer = await asked(tracer, FOR_PAYMENTS, svid(), configuration(), traceparent=PARENT)
        assert answer.status_code == 200
        (span,) = collector.spans
        attributes = dict(span.attributes)
        assert attributes.pop("troth.token.id")
        assert attributes.pop("troth.token.scope") == answer.json()["scope"]
        assert attributes == {
            "http.request.method": "POST",
            "http.route": "/token",
            "url.path": "/token",
            "http.response.status_code": 200,
            "troth.client": CHECKOUT,
            "troth.token.audience": PAYMENTS,
            "troth.token.grant": "client_credentials",
            "troth.token.outcome": "issued",
        }
        assert (span.name, span.kind, span.failed) == ("POST /token", "SERVER", False)
        assert (span.trace_id, span.parent) == (TRACE, "b7ad6b7169203331")
        token = answer.json()["access_token"].encode()
        assert token not in b"".join(collector.bodies)


async def test_trace_of_a_caller_without_a_certificate_is_not_continued(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    form = {**FOR_PAYMENTS, "audience": CANARY, "scope": CANARY, "client_id": CANARY}
    with collecting() as collector:
        with traced(collector, monkeypatch) as tracer:
            answer = await asked(
                tracer,
                form,
                None,
                configuration(),
                traceparent=PARENT,
                tracestate=f"vendor={CANARY}",
            )
        assert answer.status_code == 400
        (span,) = collector.spans
        assert span.trace_id != TRACE
        assert (span.parent, span.links) == ("", ())
        assert span.attributes["troth.token.outcome"] == "invalid_client"
        assert not span.failed
        assert CANARY.encode() not in b"".join(collector.bodies)


async def test_issuer_without_a_configuration_is_a_failed_span(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with collecting() as collector:
        with traced(collector, monkeypatch) as tracer:
            assert (await asked(tracer, FOR_PAYMENTS, svid())).status_code == 503
        (span,) = collector.spans
        assert (span.failed, span.attributes["error.type"]) == (True, "temporarily_unavailable")
