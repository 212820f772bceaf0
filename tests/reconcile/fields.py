"""Every field of every spec: an example cluster that uses them all, and another value for each.

The fields come from the generated CRDs, so none can be forgotten. `CHANGES` has one entry for each
field: the part in which the change must show and, unless the schema defines it, the other value.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from tests import builders, messaging, webhook_builders
from tests.builders import DAY, NOW, OWN, Manifest, stamp
from tests.descriptor_sets import descriptor_set, message
from tests.descriptor_sets import file as proto_file
from tests.workloads import workload
from troth.brokers.nats.jwt import Key, Kind
from troth.resources.kinds import KIND_BY_NAME
from troth.resources.references import Ref

CRDS = Path(__file__).parents[2] / "crds"
GONE: Any = object()
"""The field is absent."""
BY_SCHEMA: Any = object()
"""The next value of an enumeration, the negated boolean, or the number plus one; otherwise the
field is left out if it is optional."""
ITEM = "[]"

Place = tuple[str, Ref]


# Fields


@dataclass(frozen=True)
class Field:
    kind: str
    path: tuple[str, ...]
    """Property names, and `[]` for an item of a list."""
    schema: Manifest
    required: bool

    def __str__(self) -> str:
        return f"{self.kind}.{'.'.join(self.path)}"


@cache
def fields(*, webhooks: bool = False) -> list[Field]:
    """Return every property of every spec that is planned, except required ones that only hold
    others.

    WebhookEndpoints have a walk of their own (`tests/reconcile/test_webhook_walk.py`).
    """
    return [
        each
        for each in all_fields()
        if each.kind in KIND_BY_NAME and (each.kind == "WebhookEndpoint") == webhooks
    ]


@cache
def all_fields() -> tuple[Field, ...]:
    """Return every property of the spec of every kind.

    `make check` compares the CRDs with the models; reading them takes less than generating them.
    """
    found: list[Field] = []
    for file in sorted(CRDS.glob("*.yaml")):
        definition = yaml.load(file.read_text(), yaml.CSafeLoader)["spec"]
        (version,) = definition["versions"]
        spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
        found += _below(definition["names"]["kind"], (), spec)
    return tuple(found)


def _below(kind: str, path: tuple[str, ...], schema: Manifest) -> Iterator[Field]:
    for name, below in schema.get("properties", {}).items():
        here, required = (*path, name), name in schema.get("required", [])
        if not (required and "properties" in below):
            yield Field(kind, here, below, required)
        yield from _below(kind, here, below)
        yield from _below(kind, (*here, ITEM), below.get("items", {}))


# Declarations


def expressions(key: str = "tier", *values: str) -> list[Manifest]:
    return [{"key": key, "operator": "In", "values": list(values or ("a", "b"))}]


def pods(app: str) -> Manifest:
    return {"matchLabels": {"app": app}, "matchExpressions": expressions()}


SUFFIX = {
    "suffix": "shop.example",
    "namespaceSelector": {
        "matchLabels": {"domain": "production"},
        "matchExpressions": expressions("stage", "live", "late"),
    },
}
PRODUCTION = builders.domain(
    namespaceSelector={
        "matchLabels": {"domain": "production"},
        "matchExpressions": expressions("stage", "live", "late"),
    },
    certificates={"lifetime": "20h", "dnsNames": [SUFFIX]},
    bundle={"configMapName": "roots", "propagation": "2m"},
    tokens={"issuer": "https://tokens.shop.example", "keyLifetime": "100h"},
    allowEnvironments=["abroad"],
    federatesWith=[{"name": "abroad"}],
    network={
        "dns": {"namespace": "dns", "podSelector": pods("dns"), "port": 5353},
        "metrics": {"namespace": "monitoring", "podSelector": pods("prometheus")},
        "probes": {"cidrs": ["10.1.0.0/16"]},
    },
    proving={"every": "48h", "sample": 3},
)
ABROAD = builders.domain(
    "abroad",
    authority={"secretRef": {"name": "corporate"}},
    allowEnvironments=["production"],
    federatesWith=[{"name": "production"}, {"name": "batch"}],
)
BATCH = builders.domain("batch", allowEnvironments=["abroad"], federatesWith=[{"name": "abroad"}])
PAYMENTS = builders.identity(
    "payments",
    ports=[("https", 8443), ("admin", 9000), ("probe", 8080)],
    pods=pods("payments"),
    authentication={
        "mtls": {"dnsNames": ["pay.shop.example"], "lifetime": "12h", "keystores": ["PKCS12"]}
    },
    accepts=[
        builders.accept("checkout", namespace="shop", scopes=["charge"]),
        builders.accept("partner", namespace="abroad"),
        builders.accept("audit", "admin"),
        builders.unverified(namespaceSelector=pods("ingress"), podSelector=pods("proxy")),
        builders.unverified(cidrs=["203.0.113.0/24"], expiresAt=stamp(NOW + 50 * DAY)),
    ],
    calls=[
        builders.call("ledger", namespace="finance"),
        builders.external("198.51.100.0/24"),
        {"kubernetesAPI": True},
    ],
    exceptions={"probes": ["probe"], "metrics": ["probe"]},
    requires={"context": ["Tenant"]},
)
VAULT = builders.identity(
    "vault",
    ports=["https"],
    accepts=[builders.accept("till", scopes=["open", "close"], forwards=["ClientCertificate"])],
    authentication={
        "token": {
            "audience": "https://vault.shop.example",
            "lifetime": "90s",
            "proofOfPossession": "Optional",
            "certificate": {
                "dnsNames": ["vault.shop.example"],
                "lifetime": "12h",
                "keystores": ["PKCS12"],
            },
        }
    },
)
SAFE = builders.identity(
    "safe", authentication={"token": {"audience": "https://safe.shop.example"}}
)
TILL = builders.identity(
    "till",
    calls=[builders.call("vault", scopes=["open"])],
    startsTransactions={"scopes": ["orders.place"], "context": ["channel"]},
)
LEGACY = builders.identity(
    "legacy",
    ports=["https"],
    authentication=builders.gateway_only("checkout", NOW + 10 * DAY, "shop"),
    accepts=[builders.accept("checkout", namespace="shop")],
)
ROOTS = {name: builders.root(f"{name}.example", name)[0] for name in ("here", "there")}
ACCOUNTS = [Key.generate(Kind.ACCOUNT).public for _ in range(2)]
ADMINISTERED = {
    "tls": {"caSecretRef": {"name": "ca-here"}},
    "adminSecretRef": {"name": "broker-admin"},
}
KAFKA = messaging.broker(
    described={
        "kafka": {
            "bootstrapServers": ["kafka:9093"],
            **ADMINISTERED,
        }
    },
    brake={"maxRemovals": 20},
    more={"sharedGroups": ["other"]},
    retention="Allow",
    workload={"podSelector": pods("kafka"), "ports": [{"name": "tls", "port": 9093}]},
    allowedNamespaces={
        "matchLabels": {"domain": "production"},
        "matchExpressions": expressions("stage", "live"),
    },
)
NATS = messaging.broker(
    "bus",
    described={
        "nats": {
            "servers": ["nats:4222"],
            "account": ACCOUNTS[0],
            "operator": messaging.OPERATOR,
            **ADMINISTERED,
        }
    },
    more={"streams": ["STORED", "DEAD", "RETRY"]},
)
SERVERS: dict[str, Manifest] = {
    "rabbitmq": {"servers": ["rabbit:5671"], "management": "rabbit:15671"},
    "mqtt": {"servers": ["mosquitto:8883"]},
    "valkey": {"servers": ["valkey:6379"]},
}
"""Brokers of types that Troth does not administer yet."""
UNSERVED = [
    messaging.broker(
        type_, described={type_: described | ADMINISTERED}, owns=[f"{type_}."], groups=()
    )
    for type_, described in SERVERS.items()
]
FILES = descriptor_set(proto_file(message("Order", "string id = 1"), message("Refund")))
ORDERS = messaging.policy(
    producers=[messaging.producer("seller", "shop")],
    consumers=[
        messaging.consumer("packer", "packing", "shop") | {"retry": {"topic": "prod.orders.retry"}}
    ],
    at=("messaging", "main"),
    schema={"jsonSchema": {"type": "object"}},
    context={"require": ["Tenant"]},
    deadLetter={"topic": "prod.orders.dead", "reviewer": builders.reference("clerk", "shop")},
)
MESSAGING = [
    builders.namespace("messaging", domain="production", stage="live"),
    *(
        builders.secret(name, "messaging", **data)
        for name, data in (
            ("broker-admin", {"username": b"troth", "password": b"none"}),
            *((f"ca-{each}", {"ca.crt": roots}) for each, roots in ROOTS.items()),
        )
    ),
    KAFKA,
    NATS,
    *UNSERVED,
    ORDERS,
    messaging.policy(
        "bills",
        topic={"prefix": "prod.bills."},
        producers=[messaging.producer("seller", "shop")],
        schema={"configMapRef": {"name": "schemas"}},
        onDelete="Retain",
    ),
    messaging.policy(
        "shared",
        topic={"name": "prod.shared"},
        schema={"protobuf": {"descriptorSet": FILES, "message": "shop.Order"}},
        consumers=[messaging.consumer(each, "other") for each in ("packer", "seller")],
    ),
    messaging.policy(
        "late", "finance", topic={"name": "prod.late"}, producers=[messaging.producer("biller")]
    ),
    messaging.policy(
        "stored",
        topic={"name": "prod.stored", "stream": "STORED"},
        consumers=[
            messaging.consumer("packer", "packing")
            | {"retry": {"topic": "prod.stored.retry", "stream": "RETRY"}}
        ],
        deadLetter={
            "topic": "prod.stored.dead",
            "stream": "DEAD",
            "reviewer": builders.reference("clerk"),
        },
        at=("messaging", "bus"),
    ),
    builders.identity(
        "seller",
        publishes=[{"policy": builders.reference("orders", "shop")}, {"policy": {"name": "bills"}}],
        consumes=[{"policy": {"name": "shared"}}],
    ),
    builders.identity(
        "packer",
        consumes=[
            {"policy": builders.reference("orders", "shop")},
            {"policy": {"name": "stored"}},
            {"policy": {"name": "shared"}},
        ],
    ),
    builders.identity(
        "clerk",
        reviews=[{"policy": builders.reference("orders", "shop")}, {"policy": {"name": "stored"}}],
    ),
    builders.identity("biller", "finance", publishes=[{"policy": {"name": "late"}}]),
    {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "schemas", "namespace": "shop", "labels": {"troth.dev/schema": ""}},
        "data": {"schema.json": '{"type": "object"}'},
    },
]
WEBHOOKS = [
    builders.identity(
        "hooks",
        "finance",
        servesWebhooks={
            "allowedNamespaces": {
                "matchLabels": {"domain": "production"},
                "matchExpressions": expressions("stage", "live"),
            }
        },
    ),
    builders.identity(
        "desk",
        ports=[("webhooks", 9443)],
        accepts=[builders.accept("hooks", "webhooks", namespace="finance")],
    ),
    webhook_builders.leading("desk", selector={"app": "desk"}),
    webhook_builders.endpoint(
        gateway={"name": "hooks", "namespace": "finance"},
        target={
            "identity": {"name": "desk"},
            "port": "webhooks",
            "path": "/events",
            "workflow": "settle-charge",
        },
    ),
]
REFUSED_THERE = {"late", "biller", *SERVERS}
"""Objects that a broker does not allow, so that more of its fields show an effect, and brokers that
Troth does not administer."""
DECLARED = [
    *MESSAGING,
    builders.namespace("shop", domain="production", stage="live"),
    builders.namespace("finance", domain="production", stage="late"),
    builders.namespace("archive", domain="production", stage="gone"),
    builders.namespace("abroad", domain="abroad"),
    builders.namespace("batch", domain="batch"),
    PRODUCTION,
    ABROAD,
    BATCH,
    PAYMENTS,
    LEGACY,
    VAULT,
    SAFE,
    TILL,
    builders.identity(
        "checkout",
        calls=[builders.call(each) for each in ("payments", "legacy", "audit")],
    ),
    builders.identity("audit", ports=["https"]),
    builders.identity(
        "ledger",
        "finance",
        ports=["https", ("admin", 9000)],
        accepts=[builders.accept("payments", namespace="shop")],
    ),
    builders.identity(
        "partner", "abroad", calls=[builders.call("payments", namespace="shop")], ports=["https"]
    ),
    builders.identity(
        "reports",
        "batch",
        onRotation={"restart": [{"kind": "Deployment", "name": "reports"}]},
    ),
    workload("reports", namespace="batch", app="reports"),
    builders.endpoint_slice("172.16.0.1"),
    builders.rotation(
        every="6h", windows=[{"cron": "0 17 * * *", "duration": "2h", "timeZone": "UTC"}]
    ),
    builders.rotation(target="checkout", overlap="9h"),
    builders.rotation("TrustDomain", "production", OWN, "root"),
    *(
        builders.secret(name, tls_crt=certificate, tls_key=key.encode())
        for name, domain in (("corporate", "abroad"), ("other", "abroad"), ("bought", "batch"))
        for certificate, key in [builders.root(f"{domain}.example", name)]
    ),
    *WEBHOOKS,
]


# The other value of each field


@dataclass(frozen=True)
class Change:
    shows: str
    """Part of an account in which the change must show; nothing may differ for `NOTHING`."""
    value: Any = BY_SCHEMA
    at: str = ""
    """Name of the object to change, if it is not the first in `DECLARED` with the field."""
    beside: Manifest = field(default_factory=dict)
    """Changes needed with it for a valid object: paths such as `accepts.0.from`."""
    lives: timedelta = timedelta(0)
    """Time until the change shows."""
    rotated: str = ""
    """Trust domain whose next root rotation shows the change."""
    refused: str = ""
    """Words in the status of an object that Troth can only reject."""
    leaves: str = ""
    """Part of an account that outlives the change by design."""


NOTHING = "nothing"
"""Troth does not act on the field, or acts on it in other circumstances only."""
ROTATION = timedelta(minutes=25)
A_RETRY = timedelta(minutes=2)
"""Time until Troth applies new credentials to a broker of another type."""
A_RENEWAL = timedelta(hours=9)
"""Longer than the shorter of two lifetimes: a longer one takes effect at the next renewal."""
UNVERIFIED = builders.unverified(cidrs=["192.0.2.0/24"])["unverified"]


def _selector(shows: str, at: str = "", **gone: Any) -> dict[str, Change]:
    """Return the changes of a label selector, including its removal if `gone` describes it."""
    return {
        **({"": Change(shows, at=at, **gone)} if gone else {}),
        ".matchLabels": Change(shows, {"app": "other"}, at=at),
        ".matchExpressions": Change(shows, at=at),
        ".matchExpressions.[].key": Change(shows, "rank", at=at),
        ".matchExpressions.[].operator": Change(shows, at=at),
        ".matchExpressions.[].values": Change(shows, ["c"], at=at),
    }


def _under(prefix: str, changes: dict[str, Change]) -> dict[str, Change]:
    return {prefix + path: change for path, change in changes.items()}


def the_active_root(objects: dict[Place, Manifest]) -> str:
    return str(
        objects["TrustDomain", Ref("", "production")]["status"]["authorities"][0]["fingerprint"]
    )


NOBODY = {"allowedNamespaces.matchLabels": {"domain": "nowhere"}}

CHANGES: dict[str, Change] = {
    # TrustDomain
    "TrustDomain.domain": Change("status", "other.example"),
    "TrustDomain.environment": Change("policy", "staging"),
    **_under("TrustDomain.namespaceSelector", _selector("bundle")),
    "TrustDomain.authority.selfManaged": Change(
        "key",
        GONE,
        at="batch",
        beside={"authority.secretRef": {"name": "bought"}},
        lives=ROTATION,
    ),
    "TrustDomain.authority.selfManaged.keyAlgorithm": Change("authority", rotated="production"),
    "TrustDomain.authority.selfManaged.lifetime": Change(
        "authority", "4000h", rotated="production"
    ),
    "TrustDomain.authority.selfManaged.confined": Change("authority", rotated="production"),
    "TrustDomain.authority.secretRef": Change(
        "key", GONE, beside={"authority.selfManaged": {}}, lives=ROTATION
    ),
    "TrustDomain.authority.secretRef.name": Change("key", "other", lives=ROTATION),
    "TrustDomain.certificates": Change("status"),
    "TrustDomain.certificates.lifetime": Change("certificate", "5h", lives=A_RENEWAL),
    "TrustDomain.certificates.dnsNames": Change("status"),
    "TrustDomain.certificates.dnsNames.[].suffix": Change("status", "other.example"),
    **_under("TrustDomain.certificates.dnsNames.[].namespaceSelector", _selector("status")),
    "TrustDomain.isolation": Change("policy"),
    "TrustDomain.bundle": Change("bundle"),
    "TrustDomain.bundle.configMapName": Change("bundle", "trusted"),
    "TrustDomain.bundle.propagation": Change("pace", "4m", rotated="production"),
    "TrustDomain.tokens": Change("tokens"),
    "TrustDomain.tokens.issuer": Change("peers", "https://tokens.other.example"),
    "TrustDomain.tokens.keyLifetime": Change("key", "24h", lives=timedelta(hours=26)),
    "TrustDomain.consent": Change("policy"),
    "TrustDomain.proving": Change("status"),  # which repeats the spec; the prover acts on it
    "TrustDomain.proving.every": Change("status", "72h"),
    "TrustDomain.proving.sample": Change("status", 7),
    "TrustDomain.allowEnvironments": Change("policy"),
    "TrustDomain.federatesWith": Change("bundle"),
    "TrustDomain.federatesWith.[].name": Change("bundle", "batch"),
    "TrustDomain.network": Change("policy"),
    "TrustDomain.network.dns": Change("policy"),
    "TrustDomain.network.dns.namespace": Change("policy", "kube-system"),
    **_under("TrustDomain.network.dns.podSelector", _selector("policy", value=GONE)),
    "TrustDomain.network.dns.port": Change("policy"),
    "TrustDomain.network.metrics": Change("policy"),
    "TrustDomain.network.metrics.namespace": Change("policy", "metrics"),
    **_under("TrustDomain.network.metrics.podSelector", _selector("policy")),
    "TrustDomain.network.probes": Change("policy"),
    "TrustDomain.network.probes.cidrs": Change("policy", ["10.2.0.0/16"]),
    # ServiceIdentity
    "ServiceIdentity.workload.serviceAccountName": Change("certificate", "other"),
    **_under("ServiceIdentity.workload.podSelector", _selector("policy")),
    "ServiceIdentity.workload.ports": Change("status", at="audit"),
    "ServiceIdentity.workload.ports.[].name": Change("status", "grpc", at="audit"),
    "ServiceIdentity.workload.ports.[].port": Change("policy"),
    "ServiceIdentity.workload.ports.[].protocol": Change("policy"),
    "ServiceIdentity.authentication.mtls": Change(
        "certificate",
        GONE,
        at="audit",
        beside={"authentication": builders.gateway_only("checkout", NOW + DAY)},
        leaves="trust record",
    ),
    "ServiceIdentity.authentication.mtls.dnsNames": Change("certificate", ["p.shop.example"]),
    "ServiceIdentity.authentication.mtls.keyAlgorithm": Change("certificate"),
    "ServiceIdentity.authentication.mtls.lifetime": Change("certificate", "6h", lives=A_RENEWAL),
    "ServiceIdentity.authentication.mtls.keystores": Change("files", lives=A_RENEWAL),
    "ServiceIdentity.authentication.token": Change(
        "peers", GONE, beside={"authentication": {"mtls": {}}}
    ),
    "ServiceIdentity.authentication.token.audience": Change("tokens", "https://v.shop.example"),
    "ServiceIdentity.authentication.token.lifetime": Change("tokens", "60s"),
    "ServiceIdentity.authentication.token.proofOfPossession": Change("peers"),
    "ServiceIdentity.authentication.token.certificate": Change("certificate"),
    "ServiceIdentity.authentication.token.certificate.dnsNames": Change(
        "certificate", ["v.shop.example"]
    ),
    "ServiceIdentity.authentication.token.certificate.keyAlgorithm": Change("certificate"),
    "ServiceIdentity.authentication.token.certificate.lifetime": Change(
        "certificate", "6h", lives=A_RENEWAL
    ),
    "ServiceIdentity.authentication.token.certificate.keystores": Change("files", lives=A_RENEWAL),
    "ServiceIdentity.authentication.gatewayOnly": Change(
        "certificate", GONE, beside={"authentication": {"mtls": {}}}
    ),
    "ServiceIdentity.authentication.gatewayOnly.gateway.name": Change(
        "policy", "audit", beside={"accepts.0.from.name": "audit"}
    ),
    "ServiceIdentity.authentication.gatewayOnly.gateway.namespace": Change(
        "policy", "finance", beside={"accepts.0.from.namespace": "finance"}
    ),
    "ServiceIdentity.authentication.gatewayOnly.reason": Change("status", "nobody dares touch it"),
    "ServiceIdentity.authentication.gatewayOnly.owner": Change("status", "team legacy"),
    "ServiceIdentity.authentication.gatewayOnly.expiresAt": Change("due", stamp(NOW + 9 * DAY)),
    "ServiceIdentity.accepts": Change("policy", at="payments"),
    "ServiceIdentity.accepts.[].from": Change(
        "policy", GONE, beside={"accepts.0": {"unverified": UNVERIFIED, "ports": ["https"]}}
    ),
    "ServiceIdentity.accepts.[].from.name": Change("policy", "audit"),
    "ServiceIdentity.accepts.[].from.namespace": Change("policy", "finance"),
    "ServiceIdentity.accepts.[].unverified": Change(
        "policy", GONE, beside={"accepts.3": builders.accept("checkout", "admin")}
    ),
    **_under(
        "ServiceIdentity.accepts.[].unverified.namespaceSelector", _selector("policy", value=GONE)
    ),
    **_under("ServiceIdentity.accepts.[].unverified.podSelector", _selector("policy", value=GONE)),
    "ServiceIdentity.accepts.[].unverified.cidrs": Change("policy", ["192.0.2.0/24"]),
    "ServiceIdentity.accepts.[].unverified.reason": Change("status", "nobody else will do"),
    "ServiceIdentity.accepts.[].unverified.expiresAt": Change("policy", stamp(NOW - DAY)),
    "ServiceIdentity.accepts.[].ports": Change("policy", ["admin"]),
    "ServiceIdentity.accepts.[].scopes": Change("peers", ["refund"]),
    "ServiceIdentity.accepts.[].forwards": Change("peers"),
    "ServiceIdentity.calls": Change("policy", at="checkout"),
    "ServiceIdentity.calls.[].to": Change(
        "policy", GONE, beside={"calls.0": {"kubernetesAPI": True}}
    ),
    "ServiceIdentity.calls.[].to.name": Change("policy", "audit"),
    "ServiceIdentity.calls.[].to.namespace": Change("policy", "shop"),
    "ServiceIdentity.calls.[].ports": Change("policy", ["admin"], at="payments"),
    "ServiceIdentity.calls.[].scopes": Change("tokens", ["close"]),
    "ServiceIdentity.calls.[].external": Change(
        "policy", GONE, beside={"calls.1": builders.call("audit")}
    ),
    "ServiceIdentity.calls.[].external.host": Change("graph", "api.other.example"),
    "ServiceIdentity.calls.[].external.cidrs": Change("policy", ["192.0.2.0/24"]),
    "ServiceIdentity.calls.[].external.ports": Change("policy", [8443]),
    "ServiceIdentity.calls.[].kubernetesAPI": Change(
        "status", refused="write kubernetesAPI: true, or leave the entry out"
    ),
    "ServiceIdentity.exceptions": Change("policy"),
    "ServiceIdentity.exceptions.probes": Change("policy", ["https"]),
    "ServiceIdentity.exceptions.metrics": Change("policy", ["https"]),
    "ServiceIdentity.requires": Change("peers"),
    "ServiceIdentity.requires.context": Change("peers", ["Subject"]),
    "ServiceIdentity.startsTransactions": Change("tokens"),
    "ServiceIdentity.startsTransactions.scopes": Change("tokens", ["orders.cancel"]),
    "ServiceIdentity.startsTransactions.context": Change("tokens", ["store"]),
    "ServiceIdentity.servesWebhooks": Change("key"),
    **_under("ServiceIdentity.servesWebhooks.allowedNamespaces", _selector("webhooks")),
    "ServiceIdentity.servesWebhooks.allowedNamespaces.matchExpressions": Change(
        "webhooks", expressions("stage", "late")
    ),
    "ServiceIdentity.enforcement": Change("policy"),
    "ServiceIdentity.onRotation": Change("status"),
    "ServiceIdentity.onRotation.restart": Change(
        "status", [{"kind": "DaemonSet", "name": "others"}]
    ),
    "ServiceIdentity.onRotation.restart.[].kind": Change("status"),
    "ServiceIdentity.onRotation.restart.[].name": Change("status", "others"),
    "ServiceIdentity.publishes": Change("rules"),
    "ServiceIdentity.publishes.[].policy.name": Change("rules", "none"),
    "ServiceIdentity.publishes.[].policy.namespace": Change("rules", "finance"),
    "ServiceIdentity.consumes": Change("rules"),
    "ServiceIdentity.consumes.[].policy.name": Change("rules", "none"),
    "ServiceIdentity.consumes.[].policy.namespace": Change("rules", "finance"),
    "ServiceIdentity.reviews": Change("rules"),
    "ServiceIdentity.reviews.[].policy.name": Change("rules", "none"),
    "ServiceIdentity.reviews.[].policy.namespace": Change("rules", "finance"),
    # MessageBroker
    "MessageBroker.environment": Change("rules", "staging"),
    "MessageBroker.kafka": Change(
        "credential",
        GONE,
        beside={"nats": NATS["spec"]["nats"] | {"servers": ["other:4222"]}},
        lives=A_RETRY,
    ),
    "MessageBroker.kafka.bootstrapServers": Change("credential", ["other:9093"]),
    "MessageBroker.kafka.tls": Change("credential"),
    "MessageBroker.kafka.tls.caSecretRef": Change("credential"),
    "MessageBroker.kafka.tls.caSecretRef.name": Change("credential", "ca-there"),
    "MessageBroker.kafka.adminSecretRef.name": Change("status", "none"),
    "MessageBroker.kafka.clients": Change("credential"),
    "MessageBroker.nats": Change(
        "credential",
        GONE,
        beside={"kafka": KAFKA["spec"]["kafka"] | {"bootstrapServers": ["other:9093"]}},
        lives=A_RETRY,
    ),
    "MessageBroker.nats.servers": Change("credential", ["other:4222"]),
    "MessageBroker.nats.account": Change("credential", ACCOUNTS[1]),
    "MessageBroker.nats.tls": Change("credential"),
    "MessageBroker.nats.tls.caSecretRef": Change("credential"),
    "MessageBroker.nats.tls.caSecretRef.name": Change("credential", "ca-there"),
    "MessageBroker.nats.adminSecretRef.name": Change("status", "none"),
    "MessageBroker.nats.clients": Change("status"),
    "MessageBroker.nats.operator": Change(NOTHING, Key.generate(Kind.OPERATOR).public),
    **{
        f"MessageBroker.{type_}": Change(
            "status", GONE, at=type_, beside={other: SERVERS[other] | ADMINISTERED}
        )
        for type_, other in pairwise((*SERVERS, *SERVERS)[: len(SERVERS) + 1])
    },
    **{
        f"MessageBroker.{type_}.{path}": Change(NOTHING, value, at=type_)
        for type_ in SERVERS
        for path, value in (
            ("servers", ["other:5671"]),
            ("tls", GONE),
            ("tls.caSecretRef", GONE),
            ("tls.caSecretRef.name", "ca-there"),
            ("adminSecretRef.name", "none"),
        )
    },
    "MessageBroker.rabbitmq.management": Change(NOTHING, "other:15671"),
    "MessageBroker.rabbitmq.virtualHost": Change(NOTHING, "/other"),
    "MessageBroker.workload": Change("policy"),
    **_under("MessageBroker.workload.podSelector", _selector("policy")),
    "MessageBroker.workload.ports": Change("policy", [{"name": "plain", "port": 9092}]),
    "MessageBroker.workload.ports.[].name": Change("marks", "other"),
    "MessageBroker.workload.ports.[].port": Change("policy"),
    "MessageBroker.workload.ports.[].protocol": Change("policy"),
    "MessageBroker.allowedNamespaces.matchLabels": Change("rules", {"domain": "other"}),
    "MessageBroker.allowedNamespaces.matchExpressions": Change("rules"),
    "MessageBroker.allowedNamespaces.matchExpressions.[].key": Change("rules", "rank"),
    "MessageBroker.allowedNamespaces.matchExpressions.[].operator": Change("rules"),
    "MessageBroker.allowedNamespaces.matchExpressions.[].values": Change("rules", ["late"]),
    "MessageBroker.owns.topicPrefixes": Change("rules", ["other."]),
    "MessageBroker.owns.principalPrefix": Change("rules", "other-"),
    "MessageBroker.owns.groupPrefixes": Change("rules", ["other-"]),
    "MessageBroker.owns.sharedGroups": Change("status"),
    "MessageBroker.owns.streams": Change("rules", ["OTHER"]),
    "MessageBroker.administrators": Change(NOTHING, ["root"]),
    "MessageBroker.retention": Change("status"),
    "MessageBroker.mode": Change("policy"),
    "MessageBroker.driftCheck": Change("due", "2m"),
    "MessageBroker.brake": Change("brake", {"maxRemovals": 0}, beside=NOBODY),
    "MessageBroker.brake.maxRemovals": Change("brake", 0, beside=NOBODY),
    # TopicPolicy
    "TopicPolicy.brokerRef.name": Change("rules", "none"),
    "TopicPolicy.brokerRef.namespace": Change("rules", "shop"),
    "TopicPolicy.topic.name": Change("rules", "prod.other"),
    "TopicPolicy.topic.prefix": Change("rules", "prod.other.", at="bills"),
    "TopicPolicy.topic.stream": Change("rules", "OTHER"),
    "TopicPolicy.environment": Change("rules", "staging"),
    "TopicPolicy.producers": Change("rules"),
    "TopicPolicy.producers.[].identity.name": Change("rules", "packer"),
    "TopicPolicy.producers.[].identity.namespace": Change("rules", "finance"),
    "TopicPolicy.consumers": Change("rules"),
    "TopicPolicy.consumers.[].identity.name": Change("rules", "seller"),
    "TopicPolicy.consumers.[].identity.namespace": Change("rules", "finance"),
    "TopicPolicy.consumers.[].group": Change("rules", "other"),
    "TopicPolicy.consumers.[].tenants": Change("peers", ["acme"]),
    "TopicPolicy.consumers.[].retry": Change("rules"),
    "TopicPolicy.consumers.[].retry.topic": Change("rules", "prod.orders.again"),
    "TopicPolicy.consumers.[].retry.stream": Change("rules", "OTHER"),
    "TopicPolicy.schema": Change("peers"),
    "TopicPolicy.schema.jsonSchema": Change("peers", {"type": "array"}),
    "TopicPolicy.schema.configMapRef": Change(
        "peers", GONE, beside={"schema": {"jsonSchema": {"type": "array"}}}
    ),
    "TopicPolicy.schema.avro": Change(
        "peers", {"type": "string"}, beside={"schema.jsonSchema": GONE}
    ),
    "TopicPolicy.schema.protobuf": Change(
        "peers", GONE, beside={"schema.jsonSchema": {"type": "array"}}
    ),
    "TopicPolicy.schema.protobuf.descriptorSet": Change(
        "peers", descriptor_set(proto_file(message("Order", "int32 id = 1")))
    ),
    "TopicPolicy.schema.protobuf.message": Change("peers", "shop.Refund"),
    "TopicPolicy.schema.configMapRef.type": Change("peers", "Avro"),
    "TopicPolicy.schema.configMapRef.message": Change(
        "status", "shop.Order", beside={"schema.configMapRef.type": "Protobuf"}
    ),
    "TopicPolicy.schema.configMapRef.name": Change("status", "none"),
    "TopicPolicy.schema.configMapRef.key": Change("status", "other.json"),
    # there is no previous schema before the schema changes
    "TopicPolicy.schema.accept": Change(NOTHING),
    "TopicPolicy.context": Change("peers"),
    "TopicPolicy.context.require": Change("peers", ["Subject"]),
    "TopicPolicy.context.evidence": Change("peers"),
    "TopicPolicy.context.maxAge": Change("peers", "2h"),
    "TopicPolicy.deadLetter": Change("rules"),
    "TopicPolicy.deadLetter.topic": Change("rules", "prod.orders.other"),
    "TopicPolicy.deadLetter.stream": Change("rules", "OTHER"),
    "TopicPolicy.deadLetter.review": Change("peers"),
    "TopicPolicy.deadLetter.reviewer": Change("rules"),
    "TopicPolicy.deadLetter.reviewer.name": Change("rules", "packer"),
    "TopicPolicy.deadLetter.reviewer.namespace": Change("rules", "finance"),
    "TopicPolicy.deadLetter.approvals": Change("peers", 0),
    "TopicPolicy.deadLetter.redriveLimit": Change("peers"),
    "TopicPolicy.deadLetter.retention": Change("peers", "24h"),
    "TopicPolicy.onDelete": Change("status", "Revoke", at="bills"),
    # CredentialRotation
    "CredentialRotation.target.kind": Change("status", "TrustDomain"),
    "CredentialRotation.target.name": Change("status", "ledger"),
    "CredentialRotation.every": Change("due", "7h"),
    "CredentialRotation.windows": Change("due", [{"cron": "0 19 * * *", "duration": "1h"}]),
    "CredentialRotation.windows.[].cron": Change("due", "30 18 * * *"),
    "CredentialRotation.windows.[].duration": Change("due", "30m"),
    "CredentialRotation.windows.[].timeZone": Change("due", "Europe/Berlin"),
    "CredentialRotation.overlap": Change("due", "510m"),
    "CredentialRotation.requestedAt": Change(
        "due", stamp(NOW + timedelta(hours=1)), at="payments-rotation"
    ),
    "CredentialRotation.compromised": Change("key", the_active_root, at="root", lives=ROTATION),
}


def example(
    of: Field, change: Change, declared: list[Manifest]
) -> tuple[Manifest, tuple[Any, ...]]:
    """Return the manifest that has the field, and the path to it: property names and indexes."""
    named = [
        manifest
        for manifest in declared
        if manifest["kind"] == of.kind and change.at in ("", manifest["metadata"]["name"])
    ]
    for path in (of.path, of.path[:-1]):  # the place of the field, or of its parent
        for manifest in named:
            for way in _ways(manifest["spec"], path):
                return manifest, (*way, *of.path[len(path) :])
    raise AssertionError(f"nothing declared has {of}; have something declare it")


def _ways(part: Any, path: tuple[str, ...]) -> Iterator[tuple[Any, ...]]:
    if not path:
        yield ()
        return
    first, *rest = path
    keys = range(len(part)) if first == ITEM else [first] if first in part else []
    for key in keys:
        yield from ((key, *way) for way in _ways(part[key], tuple(rest)))


def changed(
    of: Field,
    change: Change,
    objects: dict[Place, Manifest],
    declared: list[Manifest] = DECLARED,
) -> tuple[Manifest, Manifest]:
    """Return the manifest before and after the change."""
    before, way = example(of, change, declared)
    after = copy.deepcopy(before)
    held = _at(after["spec"], way[:-1]).get(way[-1], GONE)
    set_at(after["spec"], way, _other(of, change, held, objects))
    for path, value in change.beside.items():
        set_at(
            after["spec"],
            [int(step) if step.isdigit() else step for step in path.split(".")],
            value,
        )
    return before, after


def _at(part: Any, way: Any) -> Any:
    for step in way:
        part = part[step]
    return part


def set_at(part: Any, way: Sequence[Any], value: Any) -> None:
    """Set the value at a path, or remove it if it is `GONE`."""
    holder, key = _at(part, way[:-1]), way[-1]
    if value is not GONE:
        holder[key] = value
    elif not isinstance(holder, list):
        holder.pop(key, None)


def _other(of: Field, change: Change, value: Any, objects: dict[Place, Manifest]) -> Any:
    if change.value is not BY_SCHEMA:
        given: Callable[[dict[Place, Manifest]], Any] | Any = change.value
        return given(objects) if callable(given) else given
    if value is GONE:
        value = of.schema.get("default", GONE)
    match of.schema:
        case {"enum": choices}:
            return choices[(choices.index(value) + 1) % len(choices)]
        case {"type": "boolean"}:
            return not value
        case {"type": "integer"}:
            return value + 1
    assert not of.required, f"{of} must be there: give another value for it"
    assert value is not GONE, f"{of} is left out already: give a value for it"
    return GONE
