"""Which environment switches traces on, and what a span may hold."""

import subprocess
import sys

import pytest
import typer
from structlog.testing import capture_logs

from tests.serving.collector import collecting, traced
from troth.cli.tracing import tracing
from troth.serving.otel import LONGEST, MOST
from troth.serving.tracing import TracingError, switched_on

URL = "http://collector:4318"
CANARY = "kanarie-4711"
CREDENTIALS = "OTEL_PYTHON_EXPORTER_OTLP_HTTP_TRACES_CREDENTIAL_PROVIDER"

# What the programs import when they start; prints what they have imported of OpenTelemetry's SDK.
PROGRAMS = """
import sys
import troth.cli.gateway.process, troth.cli.issue.process, troth.cli.run.shell
from troth.cli.tracing import tracing

with tracing("troth") as tracer:
    assert tracer is None
own = [name for name, module in sys.modules.items() if name.startswith("opentelemetry")]
print(own)
"""


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        {"OTEL_SERVICE_NAME": "shop", "OTEL_TRACES_SAMPLER": "always_on"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": URL, "OTEL_TRACES_EXPORTER": "none"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": URL, "OTEL_SDK_DISABLED": "True"},
    ],
)
def test_traces_are_off(environment: dict[str, str]) -> None:
    assert not switched_on(environment)


@pytest.mark.parametrize(
    "environment",
    [
        {"OTEL_TRACES_EXPORTER": "otlp"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": URL},
        {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{URL}/v1/traces"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": URL, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"},
    ],
)
def test_traces_are_on(environment: dict[str, str]) -> None:
    assert switched_on(environment)


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        (
            {"OTEL_TRACES_EXPORTER": "zipkin"},
            "OTEL_TRACES_EXPORTER: 'zipkin' is not supported; write otlp or none",
        ),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": URL, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            "OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' is not supported; write http/protobuf",
        ),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": f"user:{CANARY}@collector:4318"},
            "OTEL_EXPORTER_OTLP_ENDPOINT: not a URL; write for example http://collector:4318",
        ),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": URL, "OTEL_EXPORTER_OTLP_HEADERS": f"a=b,{CANARY}"},
            "OTEL_EXPORTER_OTLP_HEADERS: not a list of headers; write name=value,name=value",
        ),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": URL, "OTEL_TRACES_SAMPLER": "sometimes"},
            (
                "OTEL_TRACES_SAMPLER: 'sometimes' is not supported; write one of always_on, "
                "always_off, traceidratio, or one of them after parentbased_"
            ),
        ),
    ],
)
def test_unusable_variable_is_named(environment: dict[str, str], sentence: str) -> None:
    with pytest.raises(TracingError) as caught:
        switched_on(environment)
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("OTEL_TRACES_EXPORTER", "zipkin", "OTEL_TRACES_EXPORTER: 'zipkin' is not supported"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "-4711", "a variable of OpenTelemetry (OTEL_...)"),
        (CREDENTIALS, "4711", "a variable of OpenTelemetry (OTEL_...)"),
    ],
)
def test_program_ends_with_a_sentence_if_a_variable_is_unusable(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    value: str,
    sentence: str,
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", URL)
    monkeypatch.setenv(name, value)
    with pytest.raises(typer.Exit) as ended, tracing("troth-gateway"):
        pass
    assert ended.value.exit_code == 2
    said = capsys.readouterr().err
    assert said.startswith(sentence)
    assert "4711" not in said


def test_opentelemetry_is_not_imported_while_traces_are_off() -> None:
    done = _python("-c", PROGRAMS)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


def test_span_holds_no_message_of_an_exception_and_no_long_value(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with collecting() as collector:
        with traced(collector, monkeypatch) as tracer:
            with pytest.raises(ValueError, match=CANARY), tracer.span("failing", {}):
                raise ValueError(CANARY)
            expected = tracer.span("expected", {}, expected=(ValueError,))
            with pytest.raises(ValueError, match=CANARY), expected:
                raise ValueError(CANARY)
            with tracer.span("large", {}) as span:
                span.set({f"many-{number}": "x" * 10_000 for number in range(1000)})
        failing = collector.one("failing")
        assert (failing.failed, failing.events) == (True, 0)
        assert failing.attributes == {"error.type": "ValueError"}
        assert not collector.one("expected").failed
        assert CANARY.encode() not in b"".join(collector.bodies)
        large = collector.one("large").attributes
        assert len(large) == MOST
        assert {len(value) for value in large.values()} == {LONGEST}


def test_service_is_named_by_the_program_or_by_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for environment, name in (({}, "troth-test"), ({"OTEL_SERVICE_NAME": "shop"}, "shop")):
        with collecting() as collector:
            with traced(collector, monkeypatch, **environment) as tracer, tracer.span("one", {}):
                pass
            (resource,) = collector.resources
            assert resource["service.name"] == name
            assert resource["service.version"]


def test_memory_is_bounded_while_the_collector_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    small = {"OTEL_BSP_MAX_QUEUE_SIZE": "8", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "4"}
    with collecting() as collector:
        collector.open.clear()
        with traced(collector, monkeypatch, **small) as tracer:
            for number in range(1000):
                with tracer.span(f"span {number}", {}):
                    pass
            collector.open.set()
        assert 8 <= len(collector.spans) <= 8 + 4
        assert collector.spans[-1].name == "span 999"


def test_lost_spans_are_logged_seldom_and_without_the_endpoint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with collecting() as collector, capture_logs() as logs:
        collector.status = 401
        headers = {"OTEL_EXPORTER_OTLP_HEADERS": f"authorization={CANARY}"}
        one = {"OTEL_BSP_MAX_QUEUE_SIZE": "1", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "1"}
        with traced(collector, monkeypatch, **headers, **one) as tracer:
            for _ in range(50):
                with tracer.span("lost", {}):
                    pass
    (line,) = logs
    assert line["event"].startswith("spans lost")
    assert CANARY not in str(line)


def test_header_that_the_sdk_rejects_is_not_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The SDK logs the whole variable if one header is malformed."""
    with (
        collecting() as collector,
        traced(collector, monkeypatch, OTEL_EXPORTER_OTLP_HEADERS=CANARY) as tracer,
        tracer.span("one", {}),
    ):
        pass
    assert CANARY not in caplog.text


def _python(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)
