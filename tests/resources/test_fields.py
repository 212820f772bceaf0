"""Invalid fields are rejected with their place and a message that says what to write.

Whether the API server says the same is tested on a real one, in `tests/cluster/test_crds.py`.
"""

from typing import Any

import pytest

from tests import builders
from tests.builders import NOW, Manifest, accept, call, domain, external, gateway_only, identity
from tests.changed_manifests import GONE, changed
from tests.messaging import BY_NAME as MESSAGING
from tests.refusals import faults
from troth.resources.kinds import KIND_BY_NAME, KINDS
from troth.resources.schema.crd import custom_resource_definition
from troth.resources.schema.model import immutable_changes
from troth.resources.schema.rules import VALIDATIONS
from troth.resources.trust_domain.spec import TrustDomain

PAYMENTS = identity(
    ports=[("https", 8443), ("http", 8080)],
    accepts=[
        accept("checkout", scopes=["payments.charge"], forwards=["ClientCertificate"]),
        builders.unverified(cidrs=["203.0.113.0/24"]),
        builders.unverified(podSelector={"matchLabels": {"app": "ingress"}}),
    ],
    calls=[
        {**call("ledger", namespace="finance"), "scopes": ["ledger.post"]},
        external("203.0.113.0/24"),
        {"kubernetesAPI": True},
    ],
    authentication={
        "mtls": {"dnsNames": ["pay.shop.example"], "lifetime": "1h", "keystores": ["PKCS12"]}
    },
    exceptions={"probes": ["http"], "metrics": ["http"]},
    requires={"context": ["Tenant"]},
    onRotation={"restart": [{"kind": "Deployment", "name": "payments"}]},
    startsTransactions={"scopes": ["orders.place"], "context": ["channel"]},
)
LEDGER = identity(
    "ledger",
    authentication={
        "token": {
            "audience": "https://ledger.shop.example",
            "lifetime": "90s",
            "proofOfPossession": "Optional",
            "certificate": {"dnsNames": ["ledger.shop.example"]},
        }
    },
    onRotation={"restart": [{"kind": "Deployment", "name": "ledger"}]},
    startsTransactions={},
    servesWebhooks={"allowedNamespaces": {"matchLabels": {"webhooks": "yes"}}},
)
LEGACY = identity(
    "legacy",
    ports=["https"],
    accepts=[accept("gateway")],
    authentication=gateway_only("gateway", NOW + builders.DAY),
)
PRODUCTION = domain(
    allowEnvironments=["staging"],
    federatesWith=[{"name": "abroad"}],
    certificates={"lifetime": "24h", "dnsNames": [builders.dns_suffix()]},
    tokens={"issuer": "https://tokens.shop.example:8443/production", "keyLifetime": "240h"},
    network={
        "dns": {"namespace": "kube-system", "podSelector": {"matchLabels": {"k8s-app": "dns"}}},
        "metrics": {"namespace": "monitoring", "podSelector": {"matchLabels": {"app": "prom"}}},
        "probes": {"cidrs": ["10.0.0.0/8"]},
    },
)
MONTHLY = builders.rotation(
    "TrustDomain",
    "production",
    every="720h",
    windows=[{"cron": "0 2 * * 6", "duration": "4h"}],
    overlap="24h",
    compromised="0123456789abcdef",
)


BASES = {"sid": PAYMENTS, "token": LEDGER, "gateway": LEGACY, "td": PRODUCTION, "cr": MONTHLY}
every_base = pytest.mark.parametrize("manifest", BASES.values(), ids=BASES)


@every_base
def test_valid_resource_is_accepted(manifest: Manifest) -> None:
    assert faults(manifest) == []


@every_base
def test_resource_survives_a_round_trip(manifest: Manifest) -> None:
    model = KIND_BY_NAME[manifest["kind"]].model
    once = model.parse(manifest)
    assert model.parse(once.manifest()) == once


SELECTOR = "spec.workload.podSelector"
LABELS = {"matchLabels": {"app": "x"}}
RESTARTED = {"kind": "Deployment", "name": "payments"}
SERVES = {"allowedNamespaces": LABELS}
TOKEN = "spec.authentication.token"
ISSUER = "spec.tokens.issuer"
WRONG: list[tuple[str, str, Any, str, str]] = [
    # base, changed path, value, where it is told, words of the sentence
    ("sid", "metadata.name", "Payments", "metadata.name", "write a Kubernetes name"),
    ("sid", "metadata.name", "p" * 64, "", "choose a name of at most 63 characters"),
    ("sid", "metadata.namespace", "a.b", "metadata.namespace", "write a namespace name"),
    ("sid", "apiVersion", "troth.dev/v1", "apiVersion", "write troth.dev/v1alpha1"),
    ("sid", "spec", GONE, "spec", "required; add it"),
    ("sid", "spec.unheardOf", 1, "spec.unheardOf", "unknown field; remove it"),
    ("sid", "spec.unheardOf", None, "spec.unheardOf", "unknown field; remove it"),
    ("sid", "spec.workload.serviceAccountName", GONE, "", "required; add it"),
    ("sid", "spec.workload.serviceAccountName", "a_b", "", "write a Kubernetes name"),
    ("sid", SELECTOR, {}, SELECTOR, "select by at least one label"),
    ("sid", SELECTOR, {"matchLabels": {"a b": "c"}}, "", "write a label key"),
    ("sid", SELECTOR, {"matchLabels": {"app": "a b"}}, "", "write a label value"),
    (
        "sid",
        SELECTOR,
        {"matchExpressions": [{"key": "a", "operator": "In"}]},
        "",
        "set values with In",
    ),
    (
        "sid",
        SELECTOR,
        {"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]},
        "",
        "set values with In and NotIn, and remove it",
    ),
    ("sid", "spec.workload.ports.0.name", "HTTPS", "", "write a port name"),
    ("sid", "spec.workload.ports.0.port", 0, "", "write a number of at least 1"),
    ("sid", "spec.workload.ports.0.port", 65536, "", "write a number of at most 65535"),
    ("sid", "spec.workload.ports.0.port", "8443", "", "write a whole number"),
    ("sid", "spec.workload.ports.0.protocol", "SCTP", "", "'TCP' or 'UDP'"),
    ("sid", "spec.workload.ports.1.port", 8443, "", "declare every port number once"),
    ("sid", "spec.authentication", {}, "spec.authentication", "set exactly one of mtls, token"),
    (
        "sid",
        "spec.authentication.gatewayOnly",
        LEGACY["spec"]["authentication"]["gatewayOnly"],
        "spec.authentication",
        "set exactly one of mtls, token",
    ),
    ("sid", "spec.authentication.mtls.dnsNames", ["*.x.y"], "", "write a full DNS name"),
    ("sid", "spec.authentication.mtls.dnsNames", ["a.b", "a.b"], "", "once; it is listed twice"),
    ("sid", "spec.authentication.mtls.lifetime", "1 day", "", "write a duration in hours"),
    ("sid", "spec.authentication.mtls.lifetime", "", "", "write a duration in hours"),
    ("sid", "spec.authentication.mtls.lifetime", "1m", "", "a duration between 5m and 2160h"),
    ("sid", "spec.authentication.mtls.keyAlgorithm", "DSA", "", "ECDSA-P256"),
    ("token", "spec.authentication.mtls", {}, "spec.authentication", "mtls, token and gatewayOnly"),
    ("token", f"{TOKEN}.audience", "a b", f"{TOKEN}.audience", "write an audience as a URI"),
    (
        "token",
        f"{TOKEN}.audience",
        "spiffe://a.b/c",
        "",
        "leave audience out to use the workload's",
    ),
    ("token", f"{TOKEN}.audience", "a" * 256, f"{TOKEN}.audience", "at most 255 characters"),
    ("token", f"{TOKEN}.lifetime", "9s", f"{TOKEN}.lifetime", "a duration between 10s and 15m"),
    ("token", f"{TOKEN}.lifetime", "16m", f"{TOKEN}.lifetime", "a duration between 10s and 15m"),
    ("token", f"{TOKEN}.proofOfPossession", "None", "", "'Required' or 'Optional'"),
    ("token", f"{TOKEN}.certificate.dnsNames", ["*.x.y"], "", "write a full DNS name"),
    ("token", "spec.startsTransactions.scopes", ["a scope"], "", "write a scope"),
    ("token", "spec.startsTransactions.context", ["a-b"], "", "write a context name that begins"),
    ("sid", "spec.accepts.0.forwards", ["Everything"], "", "'ClientCertificate'"),
    ("sid", "spec.accepts.1.forwards", ["ClientCertificate"], "spec.accepts[1]", "remove forwards"),
    ("sid", "spec.calls.1.scopes", ["a"], "spec.calls[1]", "remove scopes; only calls with to"),
    ("sid", "spec.calls.0.scopes", ["a scope"], "", "write a scope"),
    ("sid", "spec.accepts.0.ports", [], "spec.accepts[0].ports", "at least 1 item"),
    ("sid", "spec.accepts.0.ports", ["grpc"], "spec", "declare under workload.ports"),
    ("sid", "spec.exceptions.probes", ["grpc"], "spec", "declare under workload.ports"),
    ("sid", "spec.accepts.0.from", GONE, "spec.accepts[0]", "set exactly one of from"),
    ("sid", "spec.accepts.0.scopes", ["a scope"], "", "write a scope"),
    ("sid", "spec.accepts.1.scopes", ["a"], "spec.accepts[1]", "remove scopes; a peer without"),
    ("sid", "spec.accepts.1.unverified.reason", "?", "", "write plain words for the next reader"),
    ("sid", "spec.accepts.1.unverified.podSelector", LABELS, "", "set either cidrs or selectors"),
    ("sid", "spec.accepts.2.unverified.podSelector", GONE, "", "set either cidrs or selectors"),
    ("sid", "spec.accepts.1.unverified.cidrs", ["203.0.113.1/24"], "", "no host bits set"),
    ("sid", "spec.accepts.1.unverified.cidrs", ["203.0.113.1"], "", "in canonical CIDR form"),
    ("sid", "spec.calls.0.ports", [], "spec.calls[0]", "set ports, the names of the callee's"),
    ("sid", "spec.calls.1.ports", ["https"], "spec.calls[1]", "if and only if to is set"),
    ("sid", "spec.calls.2", {}, "spec.calls[2]", "set exactly one of to"),
    ("sid", "spec.calls.2.kubernetesAPI", False, "", "write kubernetesAPI: true, or leave"),
    ("sid", "spec.calls.1.external.host", "localhost", "", "write a full DNS name"),
    ("sid", "spec.requires.context", ["Mood"], "", "'Subject', 'Tenant' or 'RequestID'"),
    ("sid", "spec.enforcement", "Maybe", "spec.enforcement", "'Enforce' or 'Observe'"),
    ("sid", "spec.onRotation", {"restart": []}, "spec.onRotation.restart", "at least 1 item"),
    ("sid", "spec.onRotation.restart.0.kind", "ReplicaSet", "", "'StatefulSet' or 'DaemonSet'"),
    ("sid", "spec.onRotation.restart.0.name", "a_b", "", "write a Kubernetes name"),
    ("sid", "spec.onRotation.restart", 2 * [RESTARTED], "", "list Deployment payments once"),
    ("gateway", "spec.onRotation", {"restart": [RESTARTED]}, "spec", "remove onRotation"),
    ("gateway", "spec.accepts.0.from.name", "other", "spec", "accept only the gateway"),
    ("gateway", "spec.calls", [call("ledger")], "spec", "use mtls or token to call another"),
    ("gateway", "spec.startsTransactions", {}, "spec", "remove startsTransactions"),
    ("gateway", "spec.servesWebhooks", SERVES, "spec", "use mtls or token to serve webhooks"),
    ("token", "spec.servesWebhooks", {}, "spec.servesWebhooks.allowedNamespaces", "required"),
    ("gateway", "spec.authentication.gatewayOnly.owner", GONE, "", "required; add it"),
    ("gateway", "spec.authentication.gatewayOnly.owner", "?!", "", "write who answers for it"),
    ("gateway", "spec.authentication.gatewayOnly.reason", GONE, "", "required; add it"),
    ("gateway", "spec.authentication.gatewayOnly.expiresAt", GONE, "", "required; add it"),
    (
        "gateway",
        "spec.authentication.gatewayOnly.expiresAt",
        "tomorrow",
        "",
        "write an RFC 3339 time",
    ),
    ("td", "spec.domain", "shop", "spec.domain", "at least two labels"),
    ("td", "spec.domain", "Prod.Example", "spec.domain", "in lower case"),
    ("td", "spec.environment", "a.b", "spec.environment", "write an environment"),
    ("td", "spec.authority", {}, "spec.authority", "set exactly one of selfManaged"),
    ("td", "spec.authority.selfManaged.lifetime", "30m", "", "between 1h and 87600h"),
    ("td", "spec.authority.selfManaged.lifetime", "24h", "spec", "make certificates.lifetime"),
    ("td", "spec.allowEnvironments", ["production"], "spec", "remove the domain's own"),
    ("td", "spec.federatesWith", [{"name": "a"}, {"name": "a"}], "", "once; it is listed twice"),
    ("td", "spec.consent", "None", "spec.consent", "'Mutual' or 'Callee'"),
    ("td", ISSUER, "http://a.b", ISSUER, "write the issuer as an https URL"),
    ("td", ISSUER, "https://a.b/", ISSUER, "or trailing slash"),
    ("td", ISSUER, "https://a.b/?c", ISSUER, "without query, fragment"),
    ("td", ISSUER, "https://localhost", ISSUER, "with a DNS name in lower case"),
    ("td", "spec.tokens.keyLifetime", "23h", "", "write a duration between 24h and 8760h"),
    ("td", "metadata.name", "a.b", "", "the issuer's Service is named after it"),
    ("td", "metadata.name", "4prod", "", "that begins with a letter"),
    ("td", "metadata.name", "a" * 57, "", "at most 56 lower-case letters"),
    ("td", "spec.bundle.propagation", "25h", "", "write a duration between 1s and 24h"),
    ("td", "spec.proving.every", "30m", "", "write a duration between 1h and 720h"),
    ("td", "spec.network.probes.cidrs", [], "spec.network.probes.cidrs", "at least 1 item"),
    ("td", "spec.network.dns.port", 0, "spec.network.dns.port", "write a number of at least 1"),
    (
        "cr",
        "spec.target.kind",
        "ServiceIdentity",
        "spec",
        "only a root or a token key can be declared compromised",
    ),
    ("cr", "spec.compromised", "0123", "spec.compromised", "write the fingerprint of the root or"),
    ("cr", "spec.every", "1m", "spec.every", "write a duration between 5m and 87600h"),
    ("cr", "spec.every", GONE, "spec", "set every with windows"),
    ("cr", "spec.overlap", "2161h", "spec.overlap", "write a duration between 0s and 2160h"),
    ("cr", "spec.windows.0.cron", "at night", "", "write a cron expression of five fields"),
    ("cr", "spec.windows.0.duration", "169h", "", "write a duration between 1m and 168h"),
    ("cr", "spec.windows.0.timeZone", "the Moon", "", "write a time zone of the IANA database"),
]


@pytest.mark.parametrize(
    ("base", "path", "value", "where", "words"),
    WRONG,
    ids=[f"{base}-{path}-{words[:24]}".replace(" ", "-") for base, path, _, _, words in WRONG],
)
def test_invalid_field_is_reported_with_place_and_fix(
    base: str, path: str, value: Any, where: str, words: str
) -> None:
    manifest = changed(BASES[base], path, value)
    found = faults(manifest)
    assert found
    told = [fault for fault in found if words in fault.sentence]
    assert told, [str(fault) for fault in found]
    if where:
        assert told[0].field == where
    assert told[0].subject.startswith(manifest["kind"])


def rules_in(schema: Any) -> set[str]:
    """The sentence of every rule in a schema, but of those that judge a change."""
    if isinstance(schema, list):
        return set().union(*map(rules_in, schema))
    if not isinstance(schema, dict):
        return set()
    found = {
        rule["message"] for rule in schema.get(VALIDATIONS, []) if "oldSelf" not in rule["rule"]
    }
    return found.union(*(rules_in(part) for part in schema.values())) if schema else found


def test_every_rule_has_its_case_here() -> None:
    told = {
        fault.sentence
        for base, path, value, _, _ in WRONG
        for fault in faults(changed(BASES[base], path, value))
    }
    # those of brokers and topics have theirs in test_messaging_fields, webhooks' are beside them
    here = [kind for kind in KINDS if kind.name not in {*MESSAGING, "WebhookEndpoint"}]
    rules = set().union(*(rules_in(custom_resource_definition(kind)) for kind in here))
    # two ports of one name are told by the list's own key, before the rule
    assert rules - told == set()


@pytest.mark.parametrize(("field", "other"), [("domain", "other.example"), ("environment", "x")])
def test_change_of_an_immutable_field_is_reported(field: str, other: str) -> None:
    before = TrustDomain.parse(domain()).spec
    after = TrustDomain.parse(domain(**{field: other})).spec
    (sentence,) = immutable_changes(before, after)
    assert sentence == f"{field} cannot change; create a new TrustDomain instead"
    assert immutable_changes(before, before) == []


NAMES = ("渡辺", "Łukasz Żak", "команда платежей", "कारण", "7 of nine", "x@y.example")
REASONS = ("стороннее решение без TLS", "공급업체 프로그램", "कारण बताएं", "TLSなしの製品です")


@pytest.mark.parametrize("name", NAMES)
def test_owner_is_a_name_in_any_script(name: str) -> None:
    assert not faults(changed(LEGACY, "spec.authentication.gatewayOnly.owner", name))


@pytest.mark.parametrize("reason", REASONS)
def test_reason_is_words_in_any_script(reason: str) -> None:
    assert not faults(changed(LEGACY, "spec.authentication.gatewayOnly.reason", reason))


@pytest.mark.parametrize("reason", ["..", "12345", "a b c d", "🔥🔥🔥", "क ख ग"])
def test_reason_without_a_word_is_rejected(reason: str) -> None:
    (fault,) = faults(changed(LEGACY, "spec.authentication.gatewayOnly.reason", reason))
    assert fault.sentence.startswith("write plain words for the next reader")


def test_error_never_quotes_the_input() -> None:
    """It might be a secret in the wrong place."""
    manifest = changed(PAYMENTS, "spec.authentication.mtls.lifetime", "hunter2")
    assert "hunter2" not in "".join(str(fault) for fault in faults(manifest))
