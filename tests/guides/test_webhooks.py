"""The pages about webhooks agree with the code: reasons, numbers, manifests and commands."""

import ast
import json
import re
from collections.abc import Iterator, Mapping
from inspect import getsource
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry
from typer.testing import CliRunner

from tests.guides.pages import ROOT, blocks, page, reasons
from tests.webhook_builders import BASES
from troth.cli.gateway import process as gatewaying
from troth.cli.main import app as command
from troth.documents.webhook_endpoint import Described, Signing
from troth.edge.inbound import refusal
from troth.edge.inbound.connections import timed
from troth.edge.inbound.connections.heads import MAX_HEAD, MAX_HEADERS
from troth.planning.identity.credentials import webhook_signing
from troth.planning.webhooks import gateway as webhook_gateway
from troth.planning.webhooks import keys as webhook_keys
from troth.planning.webhooks import planner as webhook_endpoint
from troth.planning.webhooks import propagation as webhook_told
from troth.planning.webhooks import reach as webhook_reach
from troth.planning.webhooks import rotation as webhook_rotation
from troth.planning.webhooks import status as webhook_status
from troth.planning.webhooks import unsigned as webhook_unsigned
from troth.replay import memory, url_file
from troth.resources.manifests import parse_resource
from troth.resources.webhooks.endpoint_status import MOST_KEYS
from troth.resources.webhooks.schemes import ISSUED_BY_SENDER, SchemeName
from troth.serving import loop_stalls
from troth.webhooks.gateway import app
from troth.webhooks.gateway.connection import body as reading
from troth.webhooks.gateway.connection import source
from troth.webhooks.gateway.decisions import Decision, Decisions
from troth.webhooks.gateway.forwarding import client as delivering
from troth.webhooks.gateway.forwarding import forward as handover
from troth.webhooks.schemes import registry as choosing
from troth.webhooks.schemes.delivery import Reason
from troth.webhooks.schemes.registry import event_headers, scheme_for
from troth.webhooks.schemes.scheme import MOST_SIGNATURES
from troth.world.observation.webhook_secrets import GIVEN_LABEL

GUIDE = page("webhooks.md", "reference/webhooks.md", "reference/webhook-attacks.md")
METRICS = page("reference/metrics.md")
URL = "https://hooks.shop.example/shop/stripe-charges"
WHSEC = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
WORD = re.compile(r"^[a-z]+(-[a-z]+)+$|^(suspended|foreign|fault|unreachable)$")
RUNNER = CliRunner()


def section(title: str, text: str = GUIDE) -> str:
    """Return the text from a heading to the next."""
    return re.split(r"^#+ ", text.split(f"# {title}\n")[1], flags=re.MULTILINE)[0]


def rows(title: str, text: str = GUIDE) -> list[list[str]]:
    """Return the rows of the first table after a heading, without its header."""
    found = [line for line in section(title, text).splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in found[2:]]


# Reasons


@pytest.mark.parametrize(
    "module",
    [
        *(webhook_reach, webhook_told, webhook_keys, webhook_gateway, webhook_unsigned),
        *(webhook_status, webhook_endpoint, webhook_rotation),
    ],
    ids=lambda module: module.__name__,
)
def test_guide_has_every_reason_of_a_status(module: ModuleType) -> None:
    ours = {"GatewayConfigured", "TargetReachable", "SecretAvailable", "WebhookEndpoint"}
    of_rotations = {"AwaitingCredential", "NothingToRotate"}
    found = set(reasons(module)) - ours - of_rotations - {"UnsignedAccepted"}
    assert {reason for reason in found if f"`{reason}`" not in GUIDE} == set()


def test_guide_has_every_reason_of_the_gateways_condition() -> None:
    found = set(reasons(webhook_signing)) - {"ServiceIdentity", "WriteRefused"}
    assert "CreatingSigningKey" in found
    assert {reason for reason in found if f"`{reason}`" not in GUIDE} == set()


def words(module: ModuleType) -> Iterator[str]:
    """Yield the reasons of a gateway's module, which are in lower case with hyphens."""
    for node in ast.walk(ast.parse(getsource(module))):
        given: list[ast.expr] = []
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id in {"RefusalError", "Answered", "TargetUnavailableError"}:
                given = node.args
        elif isinstance(node, ast.Return) and isinstance(node.value, ast.Constant):
            given = [node.value]
        elif isinstance(node, ast.IfExp):
            given = [node.body, node.orelse]
        for each in given:
            for part in ast.walk(each):
                if isinstance(part, ast.Constant) and WORD.match(str(part.value)):
                    yield str(part.value)


@pytest.mark.parametrize(
    "module", [app, reading, source, handover, delivering], ids=lambda module: module.__name__
)
def test_guide_has_every_reason_of_a_log_line(module: ModuleType) -> None:
    found = set(words(module))
    assert found
    assert {word for word in found if f"`{word}`" not in GUIDE} == set()


def test_guide_has_every_reason_of_an_unverified_delivery() -> None:
    assert {
        each for each in Reason if f"`{each}`" not in section("A delivery is not verified")
    } == set()


def test_guide_has_the_targets_reasons_for_a_rejection() -> None:
    table = section("The token for the target").partition("| rejected |")[2]
    told = re.findall(r"`([a-z-]+)`", table)
    assert len(told) == 5
    assert [each for each in told if f'"{each}"' not in getsource(refusal)] == []


# Schemes


def described() -> Described:
    return Described(header="X-A")


def signs_time(name: SchemeName) -> bool:
    signing = Signing(
        name=name,
        url=URL,
        described=described() if name is SchemeName.HMAC else None,
        topics=("arn:aws:sns:eu-west-1:123456789012:t",) if name is SchemeName.SNS else (),
    )
    return scheme_for(signing).signs_timestamp


def test_table_has_every_scheme_and_its_gap() -> None:
    table = {row[0].strip("`"): row for row in rows("Schemes")}
    assert set(table) == set(SchemeName)
    assert table.pop(SchemeName.GITLAB_TOKEN)[4] == "any, at any time"
    for name in set(table) - {SchemeName.HMAC}:
        assert table[name][4] == ("none" if signs_time(SchemeName(name)) else "once more"), name


def test_guide_says_who_issues_each_key() -> None:
    (issued,) = re.findall(r"\*\*The sender issues it\*\* \(([^)]+)\)", GUIDE)
    (chosen,) = re.findall(r"\*\*You choose it\*\* \(([^)]+)\)", GUIDE)
    assert set(issued.split(", ")) == set(ISSUED_BY_SENDER)
    made = [name for name in SchemeName if name in choosing._PREFIXES]
    assert set(chosen.split(", ")) == set(made)


# Manifests


def test_manifests_of_the_guide_are_valid() -> None:
    declared = [
        manifest
        for block in blocks(GUIDE, "yaml")
        if block.startswith("apiVersion")
        for manifest in yaml.safe_load_all(block)
    ]
    kinds = [each["kind"] for each in declared]
    assert kinds == ["ServiceIdentity", "WebhookEndpoint", "ServiceIdentity"]


def test_described_hmac_is_valid() -> None:
    (block,) = [each for each in blocks(GUIDE, "yaml") if "hmac:" in each]
    written = yaml.safe_load(block)
    manifest = json.loads(json.dumps(BASES["bare"]))
    manifest["spec"]["inbound"] |= written
    parse_resource(manifest, "docs/webhooks.md")


def paths(values: Mapping[str, Any], before: str = "") -> Iterator[str]:
    for name, value in values.items():
        yield f"{before}{name}"
        if isinstance(value, dict) and name not in {"namespaceLabels", "allowedNamespaces"}:
            yield from paths(value, f"{before}{name}.")


def test_values_are_those_of_the_chart() -> None:
    (block,) = [each for each in blocks(GUIDE, "yaml") if each.startswith("# values.yaml")]
    known = set(paths(yaml.safe_load((ROOT / "charts" / "troth" / "values.yaml").read_text())))
    assert set(paths(yaml.safe_load(block))) - known == set()


def test_python_example_parses() -> None:
    (block,) = blocks(GUIDE, "python")
    ast.parse(block)


# Commands


def test_command_of_the_guide_verifies_a_delivery(tmp_path: Path) -> None:
    secret, event = tmp_path / "secret.txt", tmp_path / "event.json"
    secret.write_text(WHSEC)
    event.write_text('{"id": "evt_1"}')
    (said,) = re.findall(r"\$ troth (webhook sign .*)", GUIDE)
    signing = said.replace("event.json", str(event)).replace("secret.txt", str(secret)).split()
    signed = RUNNER.invoke(command, [*signing, "--output", "http"])
    assert signed.exit_code == 0, signed.output
    sent = tmp_path / "delivery.http"
    sent.write_bytes(signed.stdout_bytes)
    (said,) = re.findall(r"\$ troth (webhook verify .*)", GUIDE)
    verifying = said.replace("delivery.http", str(sent)).replace("secret.txt", str(secret)).split()
    judged = RUNNER.invoke(command, verifying)
    assert judged.exit_code == 0, judged.output
    sent.write_bytes(signed.stdout_bytes.replace(b"evt_1", b"evt_2"))
    assert RUNNER.invoke(command, verifying).exit_code == 1


# Log line, metrics, numbers


def test_log_line_has_the_gateways_fields() -> None:
    (block,) = blocks(GUIDE, "json")
    said = json.loads(block)
    beside = {"event", "level", "timestamp", "duration_ms"}
    assert set(said) - beside == set(Decision.__dataclass_fields__)


def test_metrics_are_the_gateways() -> None:
    told = {row[0].strip(" `|") for row in rows("Webhook gateway", METRICS)}
    registry = CollectorRegistry()
    Decisions(registry)
    names = {each.name for each in registry.collect()}
    source_text = getsource(gatewaying) + getsource(loop_stalls)
    for name in told:
        bare = name.removesuffix("_total")
        assert bare in names or f'"{bare}"' in source_text, name


@pytest.mark.parametrize(
    "said",
    [
        f"there may be {MOST_KEYS}",
        f"{MOST_SIGNATURES + 1} signatures",
        f"at most {memory.MOST:,} deliveries",
        f"whole within {timed.REQUEST_WITHIN:.0f} s",
        f"at most {MAX_HEAD // 1024} KiB and {MAX_HEADERS} headers",
        f"`too-slow` ({delivering.WITHIN:.0f} s)",
        f"{GIVEN_LABEL}=true",
    ],
)
def test_numbers_and_names_are_those_of_the_code(said: str) -> None:
    assert said in GUIDE


def test_forwarded_headers_are_named() -> None:
    on = {header.decode() for name in SchemeName for header in event_headers(name)}
    assert {each for each in on if each not in GUIDE.lower()} == set()


def test_log_message_of_a_new_password_is_in_the_guide() -> None:
    (logged,) = re.findall(r'log\.info\("([^"]+)"\)', getsource(url_file))
    assert f"`{logged}`" in GUIDE
