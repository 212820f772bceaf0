"""Values that the API server accepts and Troth refuses or waits for, for each field.

Such a value names an object that does not exist, conflicts with another resource, or asks for what
its owner does not admit. A field needs none if the schema leaves only valid values. `HARMLESS`
says why for the others.
"""

from typing import Any

from tests.builders import DAY, NOW, stamp
from tests.reconcile.fields import (
    GONE,
    NOBODY,
    SERVERS,
    Change,
    Field,
    expressions,
)
from tests.reconcile.memory_brokers import AWAY

NONE = "none"
"""Name of an object that does not exist."""
NO_PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
"""A text that looks like a certificate."""
CONFLICT = {"workload.podSelector.matchLabels": {"app": "checkout"}}
"""A selector of the pods of another identity."""


def refused(reason: str, value: Any, at: str = "", **beside: Any) -> Change:
    """Return a change to a value that makes a condition not True, for a reason."""
    return Change("status", value, at=at, refused=reason, **beside)


def _selector(prefix: str, reason: str, at: str = "", **beside: Any) -> dict[str, Change]:
    """Return a value for each part of a selector that then selects none of the declared objects."""
    return {
        f"{prefix}.{path}": refused(reason, value, at, **beside)
        for path, value in (
            ("matchLabels", {"domain": NONE}),
            ("matchExpressions", expressions("stage", NONE)),
            ("matchExpressions.[].key", NONE),
            ("matchExpressions.[].operator", "NotIn"),
            ("matchExpressions.[].values", [NONE]),
        )
    }


REFUSED: dict[str, Change] = {
    # TrustDomain
    "TrustDomain.domain": refused("Conflict", "abroad.example", "batch"),
    "TrustDomain.environment": refused("EnvironmentNotOfNamespace", "staging"),
    **_selector("TrustDomain.namespaceSelector", "NoTrustDomain"),
    "TrustDomain.namespaceSelector.matchLabels": refused(
        "NamespaceOverlap", {"domain": "abroad"}, "batch"
    ),
    "TrustDomain.authority.secretRef.name": refused("SecretMissing", NONE),
    "TrustDomain.certificates.dnsNames.[].suffix": refused("DNSNameNotAllowed", "other.example"),
    **_selector("TrustDomain.certificates.dnsNames.[].namespaceSelector", "DNSNameNotAllowed"),
    "TrustDomain.bundle.configMapName": refused("Conflict", "schemas"),
    "TrustDomain.allowEnvironments": refused("EnvironmentNotAllowed", ["elsewhere"]),
    "TrustDomain.federatesWith.[].name": refused("NotFederated", NONE),
    # ServiceIdentity
    "ServiceIdentity.workload.serviceAccountName": refused("SharedIdentity", "checkout"),
    "ServiceIdentity.workload.podSelector.matchLabels": refused(
        "SharedIdentity", {"app": "checkout"}
    ),
    **{
        f"ServiceIdentity.workload.podSelector.matchExpressions{path}": refused(
            "SharedIdentity", value, "payments", beside=CONFLICT
        )
        for path, value in (("", expressions()), (".[].key", "rank"), (".[].values", ["c"]))
    },
    "ServiceIdentity.workload.ports.[].name": refused("PortUndeclared", "grpc", "audit"),
    "ServiceIdentity.authentication.mtls.dnsNames": refused(
        "DNSNameNotAllowed", ["p.other.example"]
    ),
    "ServiceIdentity.authentication.token.audience": refused(
        "Conflict", "https://vault.shop.example", "safe"
    ),
    "ServiceIdentity.authentication.token.certificate.dnsNames": refused(
        "DNSNameNotAllowed", ["p.other.example"]
    ),
    "ServiceIdentity.authentication.gatewayOnly.gateway.name": refused(
        "PeerMissing", NONE, beside={"accepts.0.from.name": NONE}
    ),
    "ServiceIdentity.authentication.gatewayOnly.gateway.namespace": refused(
        "PeerMissing", NONE, beside={"accepts.0.from.namespace": NONE}
    ),
    "ServiceIdentity.authentication.gatewayOnly.expiresAt": refused(
        "GatewayTrustTooLong", stamp(NOW + 200 * DAY)
    ),
    "ServiceIdentity.accepts.[].from.name": refused("PeerMissing", NONE, "vault"),
    "ServiceIdentity.accepts.[].from.namespace": refused("PeerMissing", NONE),
    "ServiceIdentity.accepts.[].unverified.expiresAt": refused(
        "UnverifiedExpired", stamp(NOW - DAY)
    ),
    "ServiceIdentity.calls.[].to.name": refused("PeerMissing", NONE),
    "ServiceIdentity.calls.[].to.namespace": refused("PeerMissing", NONE),
    "ServiceIdentity.calls.[].ports": refused("PortUndeclared", ["grpc"]),
    **_selector("ServiceIdentity.servesWebhooks.allowedNamespaces", "NamespaceNotAllowed"),
    "ServiceIdentity.onRotation.restart.[].name": refused("WorkloadMissing", NONE),
    **{
        f"ServiceIdentity.{field}.[].policy.{part}": refused("PolicyMissing", NONE)
        for field in ("publishes", "consumes", "reviews")
        for part in ("name", "namespace")
    },
    # MessageBroker
    "MessageBroker.environment": refused("EnvironmentNotOfBroker", "staging"),
    "MessageBroker.kafka.bootstrapServers": refused("Unreachable", [AWAY]),
    "MessageBroker.kafka.tls.caSecretRef.name": refused("SecretMissing", NONE),
    "MessageBroker.kafka.adminSecretRef.name": refused("SecretMissing", NONE),
    "MessageBroker.nats.servers": refused("Unreachable", [AWAY]),
    "MessageBroker.nats.tls.caSecretRef.name": refused("SecretMissing", NONE),
    "MessageBroker.nats.adminSecretRef.name": refused("SecretMissing", NONE),
    **_selector("MessageBroker.allowedNamespaces", "NamespaceNotAllowed"),
    "MessageBroker.owns.topicPrefixes": refused("TopicNotOwned", ["other."]),
    "MessageBroker.owns.groupPrefixes": refused("GroupNotOwned", ["other-"]),
    "MessageBroker.owns.sharedGroups": refused("GroupShared", GONE),
    "MessageBroker.owns.streams": refused("StreamNotOwned", ["OTHER"]),
    "MessageBroker.retention": refused("Denied", "Deny"),
    "MessageBroker.brake.maxRemovals": refused("Braked", 0, beside=NOBODY),
    # TopicPolicy
    "TopicPolicy.brokerRef.name": refused("BrokerMissing", NONE),
    "TopicPolicy.brokerRef.namespace": refused("BrokerMissing", NONE),
    "TopicPolicy.topic.name": refused("TopicNotOwned", "other.orders"),
    "TopicPolicy.topic.prefix": refused("TopicNotOwned", "other."),
    "TopicPolicy.topic.stream": refused("StreamNotOwned", "OTHER"),
    "TopicPolicy.environment": refused("EnvironmentNotOfNamespace", "staging"),
    **{
        f"TopicPolicy.{field}.[].identity.{part}": refused("IdentityMissing", NONE)
        for field in ("producers", "consumers")
        for part in ("name", "namespace")
    },
    "TopicPolicy.consumers.[].group": refused("GroupNotOwned", NONE),
    "TopicPolicy.schema.jsonSchema": refused("SchemaInvalid", {"type": "nonsense"}),
    "TopicPolicy.schema.avro": refused(
        "SchemaInvalid", {"type": "nonsense"}, beside={"schema.jsonSchema": GONE}
    ),
    "TopicPolicy.schema.protobuf.descriptorSet": refused("SchemaInvalid", "AAAA"),
    "TopicPolicy.schema.protobuf.message": refused("SchemaInvalid", "shop.Nothing"),
    "TopicPolicy.schema.configMapRef.message": refused(
        "SchemaInvalid", "shop.Order", beside={"schema.configMapRef.type": "Protobuf"}
    ),
    "TopicPolicy.schema.configMapRef.name": refused("SchemaMissing", NONE),
    "TopicPolicy.schema.configMapRef.key": refused("SchemaMissing", NONE),
    "TopicPolicy.consumers.[].retry.topic": refused("TopicNotOwned", "other.retry"),
    "TopicPolicy.consumers.[].retry.stream": refused("StreamNotOwned", "OTHER"),
    "TopicPolicy.deadLetter.topic": refused("TopicNotOwned", "other.dead"),
    "TopicPolicy.deadLetter.stream": refused("StreamNotOwned", "OTHER"),
    "TopicPolicy.deadLetter.reviewer.name": refused("IdentityMissing", NONE),
    "TopicPolicy.deadLetter.reviewer.namespace": refused("IdentityMissing", NONE),
    # CredentialRotation
    "CredentialRotation.target.kind": refused("TargetMissing", "MessageBroker"),
    "CredentialRotation.target.name": refused("TargetMissing", NONE),
    "CredentialRotation.windows.[].cron": refused("WindowNeverOpens", "0 0 30 2 *"),
    "CredentialRotation.windows.[].timeZone": refused("TimeZoneUnknown", "Mars/Olympus"),
    # WebhookEndpoint
    "WebhookEndpoint.inbound.secretRef.name": refused("SecretMissing", NONE),
    "WebhookEndpoint.inbound.source.clientCertificate.caBundle": refused("SourceInvalid", NO_PEM),
    "WebhookEndpoint.inbound.gateway.name": refused("GatewayMissing", NONE, "http"),
    "WebhookEndpoint.inbound.gateway.namespace": refused("GatewayMissing", NONE, "http"),
    "WebhookEndpoint.inbound.target.identity.name": refused("TargetMissing", NONE),
    "WebhookEndpoint.inbound.target.port": refused("PortUndeclared", NONE),
    "WebhookEndpoint.inbound.acceptUnsigned.expiresAt": refused(
        "UnsignedExpired", stamp(NOW - DAY)
    ),
}


def _parts(prefix: str) -> tuple[str, ...]:
    paths = ("matchLabels", "matchExpressions.[].key", "matchExpressions.[].values")
    return tuple(f"{prefix}.{path}" for path in paths)


HARMLESS: dict[str, tuple[str, ...]] = {
    "a narrower or wider choice of peers, none of which needs to exist": (
        "TrustDomain.network.dns.namespace",
        *_parts("TrustDomain.network.dns.podSelector"),
        "TrustDomain.network.metrics.namespace",
        *_parts("TrustDomain.network.metrics.podSelector"),
        "TrustDomain.network.probes.cidrs",
        *_parts("ServiceIdentity.accepts.[].unverified.namespaceSelector"),
        *_parts("ServiceIdentity.accepts.[].unverified.podSelector"),
        "ServiceIdentity.accepts.[].unverified.cidrs",
        "ServiceIdentity.calls.[].external.host",
        "ServiceIdentity.calls.[].external.cidrs",
        *_parts("MessageBroker.workload.podSelector"),
    ),
    "the schema compares it with the ports of the workload": (
        "ServiceIdentity.accepts.[].ports",
        "ServiceIdentity.exceptions.probes",
        "ServiceIdentity.exceptions.metrics",
    ),
    "words for people": (
        "ServiceIdentity.authentication.gatewayOnly.reason",
        "ServiceIdentity.authentication.gatewayOnly.owner",
        "ServiceIdentity.accepts.[].unverified.reason",
        "MessageBroker.workload.ports.[].name",
        "WebhookEndpoint.inbound.acceptUnsigned.reason",
        "WebhookEndpoint.inbound.acceptUnsigned.owner",
    ),
    "each side names what it wants, and a token has what both name": (
        "ServiceIdentity.accepts.[].scopes",
        "ServiceIdentity.calls.[].scopes",
        "ServiceIdentity.startsTransactions.scopes",
        "ServiceIdentity.startsTransactions.context",
    ),
    "a name of the owner's choice": (
        "TrustDomain.tokens.issuer",
        "MessageBroker.owns.principalPrefix",
        "MessageBroker.administrators",
    ),
    "names of the application's tenants, which Troth cannot know": (
        "TopicPolicy.consumers.[].tenants",
    ),
    "compared with what the server says, by tests with a real one": (
        "MessageBroker.nats.account",
        "MessageBroker.nats.operator",
    ),
    "a list of keys that are never used again, which need not exist": (
        "CredentialRotation.compromised",
    ),
    "what the sender chooses, which Troth cannot know": tuple(
        f"WebhookEndpoint.inbound.{path}"
        for path in (
            *("source.cidrs", "source.clientCertificate.sans", "publicURL", "limits.body"),
            *("hmac.header", "hmac.prefix", "hmac.signed", "hmac.timestampHeader"),
            *("hmac.idHeader", "sns.topicARNs", "httpSignatures.components"),
        )
    ),
    "what the target's program chooses": (
        "WebhookEndpoint.inbound.target.path",
        "WebhookEndpoint.inbound.target.workflow",
    ),
    "Troth serves no outbound endpoint": tuple(
        f"WebhookEndpoint.outbound.{path}"
        for path in ("url", "pin.caBundleRef.name", "pin.publicKeys", "sender.identity.name")
    ),
    "Troth refuses every broker of the type": tuple(
        f"MessageBroker.{type_}.{path}"
        for type_ in SERVERS
        for path in (
            *("servers", "tls.caSecretRef.name", "adminSecretRef.name"),
            *(("management", "virtualHost") if type_ == "rabbitmq" else ()),
        )
    ),
}


def leaves_a_choice(field: Field) -> bool:
    """Return whether a field holds names or texts, of which Troth may have to refuse some.

    The values of an enumeration are all valid, as are numbers and lengths of time within bounds,
    and times. An object, and a list of objects, is judged by its fields.
    """
    schema = field.schema.get("items", field.schema)
    rules = [rule["message"] for rule in schema.get("x-kubernetes-validations", [])]
    if "enum" in schema or schema["type"] in ("boolean", "integer") or "properties" in schema:
        return False
    return not any(words in rule for rule in rules for words in ("a duration", "RFC 3339"))
