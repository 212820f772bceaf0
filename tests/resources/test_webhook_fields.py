"""Invalid fields of WebhookEndpoints are rejected with what to write.

Whether the API server says the same is tested in `tests/cluster/test_webhook_crd.py`.
"""

from datetime import timedelta
from typing import Any

import pytest

from tests.builders import Manifest
from tests.changed_manifests import changed
from tests.refusals import faults
from tests.resources.schemas import parts, schema
from tests.webhook_builders import BASES, INBOUND, WRONG, endpoint, issued
from troth.resources.kinds import KIND_BY_NAME
from troth.resources.references import Ref
from troth.resources.schema.rules import VALIDATIONS
from troth.resources.webhooks.endpoint import WebhookEndpoint
from troth.resources.webhooks.inbound import Inbound
from troth.resources.webhooks.schemes import ISSUED_BY_SENDER, SchemeName

every_base = pytest.mark.parametrize("manifest", BASES.values(), ids=BASES)


def inbound(manifest: Manifest) -> Inbound:
    found = WebhookEndpoint.parse(manifest).spec.inbound
    assert found is not None
    return found


@every_base
def test_valid_resource_is_accepted(manifest: Manifest) -> None:
    assert faults(manifest) == []


@every_base
def test_resource_survives_a_round_trip(manifest: Manifest) -> None:
    once = WebhookEndpoint.parse(manifest)
    assert WebhookEndpoint.parse(once.manifest()) == once


@pytest.mark.parametrize(
    ("base", "path", "value", "where", "words"),
    WRONG,
    ids=[f"{number}-{base}-{path}" for number, (base, path, *_) in enumerate(WRONG)],
)
def test_invalid_field_is_reported_with_place_and_fix(
    base: str, path: str, value: Any, where: str, words: str
) -> None:
    found = faults(changed(BASES[base], path, value))
    told = [fault for fault in found if words in fault.sentence]
    assert told, [str(fault) for fault in found]
    if where:
        assert told[0].field == where


def test_every_rule_has_its_case() -> None:
    told = {
        fault.sentence
        for base, path, value, _, _ in WRONG
        for fault in faults(changed(BASES[base], path, value))
    }
    rules = {
        rule["message"]
        for _, part in parts(schema(KIND_BY_NAME["WebhookEndpoint"]))
        for rule in part.get(VALIDATIONS, [])
    }
    everywhere = {  # of scalars and references whose cases are in test_fields
        *(rule for rule in rules if rule.startswith(("choose a name of", "write a duration in"))),
        *(rule for rule in rules if rule.startswith("write a namespace name")),
    }
    assert rules - told - everywhere == set()


@pytest.mark.parametrize("scheme", list(SchemeName))
def test_secret_must_be_provided_exactly_if_the_sender_issues_it(scheme: SchemeName) -> None:
    extra: dict[str, Any] = {
        SchemeName.HMAC: {"hmac": {"header": "X-Signature"}},
        SchemeName.SNS: {"sns": BASES["sns"]["spec"]["inbound"]["sns"]},
        SchemeName.GITLAB_TOKEN: {
            "acceptUnsigned": BASES["gitlab"]["spec"]["inbound"]["acceptUnsigned"]
        },
    }.get(scheme, {})
    assert faults(issued(scheme, **extra)) == []
    refused = bool(faults(endpoint(scheme=scheme, **extra)))
    assert refused is (scheme in ISSUED_BY_SENDER)


def test_default_tolerance_is_five_seconds_for_paddle_and_else_five_minutes() -> None:
    assert inbound(endpoint()).tolerated == timedelta(minutes=5)
    assert inbound(issued("Paddle")).tolerated == timedelta(seconds=5)
    assert inbound(issued("Paddle", tolerance="1m")).tolerated == timedelta(minutes=1)
    assert faults(issued("Paddle", replayWindow="10s")) == []
    assert faults(issued("Paddle", replayWindow="9s")) != []


def test_path_of_another_namespace_is_rejected() -> None:
    found = WebhookEndpoint.parse(
        endpoint("orders", "a", publicURL="https://hooks.example/b/orders")
    )
    assert found.path == "/a/orders"


def test_gateway_defaults_to_the_charts() -> None:
    assert WebhookEndpoint.parse(endpoint()).gateway == Ref("troth-gateway", "troth-gateway")
    named = WebhookEndpoint.parse(endpoint(gateway={"name": "edge"}))
    assert named.gateway == Ref("shop", "edge"), "a reference without a namespace means its own"
    assert WebhookEndpoint.parse(BASES["out"]).gateway is None


@pytest.mark.parametrize(
    ("written", "size"), [("256Ki", 262144), ("16Mi", 16777216), ("1", 1), ("1000", 1000)]
)
def test_body_size_is_parsed_as_written(written: str, size: int) -> None:
    assert inbound(endpoint(limits={"body": written})).limits.bytes == size


def test_signed_template_may_have_any_fields_with_text_between() -> None:
    for signed in ("{body}", "v0:{timestamp}:{body}", "{method}\n{url}\n{id}\n{body}", "x{body}"):
        described = {"header": "X", "signed": signed, "idHeader": "X-Id"}
        if "timestamp" in signed:
            described["timestampHeader"] = "X-Timestamp"
        assert faults(endpoint(scheme="HMAC", hmac=described)) == []


def test_error_never_quotes_the_input() -> None:
    """It might be a secret in the wrong place."""
    for path in ("secretRef.name", "target.path", "publicURL", "tolerance"):
        found = faults(changed(BASES["stripe"], f"{INBOUND}.{path}", "hunter2 *"))
        assert found
        assert "hunter2" not in "".join(map(str, found))
