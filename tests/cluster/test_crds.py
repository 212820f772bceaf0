"""CRDs and models: the API server and the models reject the same manifests, with one message.

Two judges read a user's manifest: the CRD at `kubectl apply`, and the models in `troth plan` and in
the operator. If they disagreed, a plan could promise what apply rejects, or the operator could meet
an object that it cannot read.
"""

import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox import CommandError, Sandbox
from tests import builders
from tests.changed_manifests import changed
from tests.cluster.agreement import check
from tests.cluster.dry_run import DryRun
from tests.cluster.manifests import (
    Manifest,
    credential_rotations,
    gone_wrong,
    service_identities,
    trust_domains,
)
from tests.refusals import faults
from troth.cli.inputs.documents import read_stream
from troth.resources.kinds import KINDS, Kind
from troth.resources.manifests import dump, parse_resource
from troth.resources.metadata import API_VERSION, GROUP
from troth.resources.schema.model import immutable_changes
from troth.resources.trust_domain.spec import TrustDomain

EXAMPLES = max(150, settings.default.max_examples if settings.default else 0)


RIGHT = st.one_of(trust_domains(), service_identities(), credential_rotations())


@settings(max_examples=EXAMPLES)
@given(RIGHT)
def test_api_server_accepts_what_the_model_accepts(dry_run: DryRun, manifest: Manifest) -> None:
    assert faults(manifest) == []
    assert check(manifest, dry_run).accepted


@settings(max_examples=2 * EXAMPLES)
@given(gone_wrong(RIGHT))
def test_both_reject_the_same_random_manifests(dry_run: DryRun, manifest: Manifest) -> None:
    check(manifest, dry_run)


DOMAIN = builders.domain()
TOKENS = builders.domain(tokens={})
IDENTITY = builders.identity(namespace="default", ports=["https"])
GATEWAY_ONLY = changed(
    IDENTITY,
    "spec.authentication",
    builders.gateway_only("gateway", datetime(2027, 1, 1, tzinfo=UTC)),
)
EXPIRES_AT = "spec.authentication.gatewayOnly.expiresAt"


@pytest.mark.parametrize(
    ("manifest", "path", "value"),
    [
        (DOMAIN, "metadata.annotations", None),
        (DOMAIN, "status", None),
        (DOMAIN, "spec.certificates", {"lifetime": None}),
        (DOMAIN, "spec.namespaceSelector.matchLabels.other", None),
        (DOMAIN, "spec.authority.selfManaged.confined", None),
        (IDENTITY, "spec.accepts", None),
        (IDENTITY, "spec.enforcement", None),
        (DOMAIN, "spec.network.dns.port", 53.0),
        (DOMAIN, "spec.certificates.lifetime", "0024h"),
        (GATEWAY_ONLY, EXPIRES_AT, "2028-02-29T12:00:00.5+01:00"),
    ],
)
def test_both_read_null_as_absent_and_equivalent_values_alike(
    dry_run: DryRun, manifest: Manifest, path: str, value: Any
) -> None:
    assert check(changed(manifest, path, value), dry_run).accepted


ONCE = [{"name": "a"}, {"name": "a"}]
HOST = {"host": "api.example.com", "cidrs": ["203.0.113.0/24"], "ports": [443]}


@pytest.mark.parametrize(
    ("manifest", "path", "value"),
    [
        # duplicates
        (DOMAIN, "spec.allowEnvironments", ["staging", "staging"]),
        (DOMAIN, "spec.federatesWith", ONCE),
        (DOMAIN, "spec.certificates.dnsNames", [builders.dns_suffix(), builders.dns_suffix()]),
        (DOMAIN, "spec.network.probes.cidrs", ["10.0.0.0/8", "10.0.0.0/8"]),
        (IDENTITY, "spec.workload.ports", [{"name": "a", "port": 1}, {"name": "a", "port": 2}]),
        (IDENTITY, "spec.exceptions.metrics", ["https", "https"]),
        (IDENTITY, "spec.requires.context", ["Tenant", "Tenant"]),
        (IDENTITY, "spec.accepts", [builders.accept("a", "https", "https")]),
        (IDENTITY, "spec.accepts", [builders.accept("a", scopes=["x", "x"])]),
        (IDENTITY, "spec.calls", [{"external": {**HOST, "ports": [443, 443]}}]),
        (IDENTITY, "spec.authentication.mtls.dnsNames", ["a.example", "a.example"]),
        (IDENTITY, "spec.calls", [{**builders.call("a"), "scopes": ["x", "x"]}]),
        (IDENTITY, "spec.startsTransactions", {"context": ["channel", "channel"]}),
        (IDENTITY, "spec.onRotation.restart", 2 * [{"kind": "Deployment", "name": "a"}]),
        # values of the wrong type or form
        (DOMAIN, "spec.authority.selfManaged.confined", "true"),
        (DOMAIN, "spec.authority.selfManaged.confined", 1),
        (DOMAIN, "spec.network.dns.port", "53"),
        (DOMAIN, "spec.network.dns.port", True),
        (IDENTITY, "spec.calls", [{"kubernetesAPI": "true"}]),
        (GATEWAY_ONLY, EXPIRES_AT, "2026-11-24 12:00:00Z"),
        (GATEWAY_ONLY, EXPIRES_AT, "2026-11-24"),
        (GATEWAY_ONLY, EXPIRES_AT, "2026-02-30T12:00:00Z"),
        (GATEWAY_ONLY, EXPIRES_AT, "1700000000"),
        (GATEWAY_ONLY, EXPIRES_AT, 1700000000),
        (GATEWAY_ONLY, EXPIRES_AT, "0000-01-01T00:00:00Z"),
        (IDENTITY, "spec.onRotation", {}),
        (IDENTITY, "spec.onRotation.restart", [{"kind": "Deployment"}]),
        (IDENTITY, "spec.onRotation.restart", [{"kind": "deployment", "name": "a"}]),
        # values that Kubernetes, a resolver or a certificate would reject later
        (DOMAIN, "spec.namespaceSelector.matchLabels", {"a..b/c": "d"}),
        (DOMAIN, "spec.namespaceSelector.matchLabels", {f"{'a' * 254}/b": "c"}),
        (DOMAIN, "spec.domain", f"{'a' * 64}.example"),
        (IDENTITY, "spec.authentication.mtls.dnsNames", [f"{'a' * 64}.example"]),
        (DOMAIN, "spec.network.probes.cidrs", ["::ffff:a00:0/104"]),
        (DOMAIN, "spec.network.probes.cidrs", ["10.0.0.1/8"]),
        (DOMAIN, "spec.network.probes.cidrs", ["2001:DB8::/32"]),
        (DOMAIN, "spec.domain", "prod.example\n"),
        (DOMAIN, "metadata.name", "a" * 64),
        (TOKENS, "metadata.name", "a" * 57),
        (TOKENS, "metadata.name", "prod.eu"),
        (TOKENS, "spec.tokens.issuer", "https://tokens.example/?a"),
        (TOKENS, "spec.tokens.issuer", "https://tokens.example\n"),
        (IDENTITY, "spec.authentication", {"token": {"audience": "spiffe://a.b/c"}}),
        (IDENTITY, "spec.authentication", {"token": {}, "mtls": {}}),
    ],
)
def test_both_reject_what_would_fail_later(
    dry_run: DryRun, manifest: Manifest, path: str, value: Any
) -> None:
    assert not check(changed(manifest, path, value), dry_run).accepted


EVERYTHING_WRONG = {
    **IDENTITY,
    "spec": {
        "workload": {
            "serviceAccountName": "Payments",
            "podSelector": {},
            "ports": [
                {"name": "https", "port": 8443},
                {"name": "443", "port": 443},
                {"name": "admin", "port": 8443},
            ],
        },
        "authentication": {
            "mtls": {"dnsNames": ["*.shop.example"], "lifetime": "1d"},
            "gatewayOnly": {
                "gateway": {"name": "edge", "namespace": "a.b"},
                "reason": "...",
                "owner": "team edge",
                "expiresAt": "tomorrow",
            },
        },
        "accepts": [
            {"ports": ["https"]},
            {
                "unverified": {"cidrs": ["10.0.0.1/8"], "reason": "public traffic"},
                "ports": ["grpc"],
                "scopes": ["all of it"],
            },
            {
                "unverified": {
                    "podSelector": {"matchExpressions": [{"key": "app", "operator": "In"}]},
                    "cidrs": ["10.0.0.0/8"],
                    "reason": "public traffic",
                },
                "ports": ["https"],
            },
        ],
        "calls": [
            {"to": {"name": "ledger"}},
            {"kubernetesAPI": False},
            {"to": {"name": "ledger"}, "ports": ["https"], "external": HOST},
            {
                "to": {"name": "ledger"},
                "ports": ["https"],
            },
        ],
    },
}
MENDS = {
    "spec": [
        "declare under workload.ports every port that accepts or exceptions name",
        "with gatewayOnly, accept only the gateway, written exactly as in gatewayOnly.gateway",
        "a gatewayOnly workload has no identity to present to a callee; use mtls or token to call",
    ],
    "spec.workload.serviceAccountName": ["write a Kubernetes name: lower-case letters"],
    "spec.workload.podSelector": ["select by at least one label"],
    "spec.workload.ports": ["declare every port number once for each protocol"],
    "spec.workload.ports[1].name": ["write a port name: up to 15 lower-case letters"],
    "spec.authentication": ["set exactly one of mtls, token and gatewayOnly (with an end"],
    "spec.authentication.mtls.dnsNames[0]": ["write a full DNS name in lower case without wild"],
    "spec.authentication.mtls.lifetime": ["write a duration in hours, minutes and seconds, such"],
    "spec.authentication.gatewayOnly.gateway.namespace": ["write a namespace name: lower-case"],
    "spec.authentication.gatewayOnly.reason": ["write plain words for the next reader, at least"],
    EXPIRES_AT: ["write an RFC 3339 time in this century, such as 2026-11-24T12:00:00Z"],
    "spec.accepts[0]": ["set exactly one of from (a ServiceIdentity) and unverified"],
    "spec.accepts[1].unverified.cidrs[0]": ["write a network in canonical CIDR form"],
    "spec.accepts[1]": ["remove scopes; a peer without an identity never has any"],
    "spec.accepts[1].scopes[0]": ["write a scope as letters, digits and . _ : / -"],
    "spec.accepts[2].unverified": [
        "set either cidrs or selectors: namespaceSelector, podSelector or"
    ],
    "spec.accepts[2].unverified.podSelector.matchExpressions[0]": ["set values with In and"],
    "spec.calls[0]": ["set ports, the names of the callee's ports, if and only if to is set"],
    "spec.calls[1].kubernetesAPI": ["write kubernetesAPI: true, or leave the entry out"],
    "spec.calls[2]": ["set exactly one of to (a ServiceIdentity), external and"],
}


def test_manifest_with_many_faults_gets_a_fix_for_each_at_once(
    dry_run: DryRun,
) -> None:
    answer = dry_run.create(EVERYTHING_WRONG)
    told = [(complaint.field, complaint.sentence) for complaint in answer.complaints]
    untold = [
        (field, mend)
        for field, mends in MENDS.items()
        for mend in mends
        if not any(field == where and mend in sentence for where, sentence in told)
    ]
    assert not answer.accepted
    assert untold == []
    assert len(told) == sum(len(mends) for mends in MENDS.values()), "and of nothing else"


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("spec.nonsense", 1, 'unknown field "spec.nonsense"'),
        ("spec.workload.podSelectors", {}, 'unknown field "spec.workload.podSelectors"'),
        ("spec.enforcement", "Off", 'supported values: "Enforce", "Observe"'),
        ("spec.workload", {}, "spec.workload.serviceAccountName: Required value"),
        ("spec.workload.ports", [{"name": "a", "port": 70000}], "less than or equal to 65535"),
        ("spec.workload.ports", [{"name": "a", "port": "1"}], "must be of type integer"),
        ("spec.accepts", [builders.accept("a", *"abcdefghijklmnopq")], "at most 16 items"),
        ("spec.requires.context", ["Tenant", "Tenant"], 'Duplicate value: "Tenant"'),
    ],
)
def test_fault_that_only_the_schema_rejects_names_the_field(
    established: Sandbox, path: str, value: Any, told: str
) -> None:
    with pytest.raises(CommandError) as refusal:
        established.kubectl("apply", "-f", "-", stdin=dump(changed(IDENTITY, path, value)))
    assert told in str(refusal.value)


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("domain", "other.example", "domain cannot change; create a new TrustDomain instead"),
        ("environment", "other", "environment cannot change; create a new TrustDomain instead"),
    ],
)
def test_immutable_field_rejects_another_value_with_its_message(
    established: Sandbox, field: str, value: str, sentence: str
) -> None:
    name = f"td-{uuid.uuid4().hex[:8]}"
    domain = changed(DOMAIN, "metadata.name", name)
    established.kubectl("apply", "-f", "-", stdin=dump(domain))
    try:
        other = changed(domain, f"spec.{field}", value)
        with pytest.raises(CommandError) as refusal:
            established.kubectl("apply", "-f", "-", stdin=dump(other))
        assert sentence in str(refusal.value)
        before, after = parse_resource(domain), parse_resource(other)
        assert isinstance(before, TrustDomain)
        assert isinstance(after, TrustDomain)
        assert immutable_changes(before.spec, after.spec) == [sentence]
    finally:
        established.kubectl("delete", "trustdomain", name)


# Values that a user may leave unquoted
UNQUOTED = [
    *("yes", "yEs", "y", "n", "N", "On", "oFF", "TRUE", "Null", "~", ""),
    *("2026-11-24", "2026-11-24T12:00:00Z", "1:30", "=", "<", "-1-", "10.0.0.0/8", "1.2.3"),
    *("0o17", "017", "08", "0x10", "0b11", "1_000", "+1", "-0", "1e3", "1.5e+3", ".5", "1.", "1.0"),
]


def test_unquoted_values_are_read_as_kubectl_reads_them(established: Sandbox) -> None:
    text = "---\n".join(
        f"apiVersion: {API_VERSION}\nkind: TrustDomain\n"
        f"metadata:\n  name: a-{number}\nspec:\n  domain: {value}\n"
        for number, value in enumerate(UNQUOTED)
    )
    flags = ("--dry-run=client", "--validate=false", "-o", "json", "-f", "-")
    objects = established.kubectl("create", *flags, stdin=text).replace("\n}\n{", "\n},{")
    by_kubectl = [item["spec"].get("domain") for item in json.loads(f"[{objects}]")]
    by_us = [each.manifest["spec"]["domain"] for each in read_stream(text, "")[0]]
    assert [(value, isinstance(value, bool)) for value in by_us] == [
        (value, isinstance(value, bool)) for value in by_kubectl
    ]


# Presentation


def undescribed(schema: Any, path: str) -> Iterator[str]:
    """Yield the fields of a schema that have no description."""
    for name, part in schema.get("properties", {}).items():
        here = f"{path}.{name}"
        if not part.get("description", "").strip():
            yield here
        yield from undescribed(part, here)
        yield from undescribed(part.get("items", {}), f"{here}[]")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_field_has_a_description(established: Sandbox, kind: Kind) -> None:
    name = f"{kind.plural}.{GROUP}"
    crd = json.loads(established.kubectl("get", "crd", name, "-o", "json"))
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    assert list(undescribed({"properties": {"spec": schema["properties"]["spec"]}}, "")) == []
    assert list(undescribed({"properties": {"status": schema["properties"]["status"]}}, "")) == []


def test_kubectl_explain_shows_the_models_descriptions(established: Sandbox) -> None:
    authority = " ".join(established.kubectl("explain", "td.spec.authority").split())
    assert "Source of the domain's certificates. Set exactly one field." in authority
    assert "Root that Troth creates, keeps and rotates." in authority
    gateway = " ".join(
        established.kubectl("explain", "sid.spec.authentication.gatewayOnly").split()
    )
    assert "expiresAt <string> -required-" in gateway
    assert "at most 90 days ahead. From then on, nobody is accepted" in gateway


def test_category_and_short_names_list_all_kinds(
    established: Sandbox,
) -> None:
    name = f"glance-{uuid.uuid4().hex[:8]}"
    domain = changed(DOMAIN, "metadata.name", name)
    identity = changed(IDENTITY, "metadata.name", name)
    established.kubectl("create", "-f", "-", stdin=f"{dump(domain)}---\n{dump(identity)}")
    try:
        listed = established.kubectl("get", "troth", "-A", "-o", "name").split()
        assert f"trustdomain.troth.dev/{name}" in listed
        assert f"serviceidentity.troth.dev/{name}" in listed
        heading, row = established.kubectl("get", "td", name).splitlines()
        assert heading.split() == [
            "NAME",
            "DOMAIN",
            "ENVIRONMENT",
            "READY",
            "REASON",
            "EXPIRES",
            "AGE",
        ]
        assert row.split()[1:3] == ["production.example", "production"]
        heading, row = established.kubectl("get", "sid", name).splitlines()
        assert heading.split()[:4] == ["NAME", "READY", "REASON", "PEERS"]
        assert "Enforce" in row
    finally:
        established.kubectl("delete", f"td/{name}", f"sid/{name}")


@pytest.mark.parametrize("owner", ["渡辺", "Łukasz Żak", "कारण", "?!"])
@pytest.mark.parametrize("reason", ["стороннее решение", "कारण बताएं", "क ख ग", "a b c"])
def test_names_and_words_in_any_script_are_judged_alike(
    dry_run: DryRun, owner: str, reason: str
) -> None:
    trust = builders.gateway_only("gateway", builders.NOW)
    trust["gatewayOnly"] |= {"owner": owner, "reason": reason}
    legacy = builders.identity("legacy", "default", authentication=trust)
    answer = check(legacy, dry_run)
    assert answer.accepted == (owner != "?!" and reason not in ("क ख ग", "a b c"))
