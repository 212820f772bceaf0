"""Brokers and policies for the tests: manifests as users write them, valid and invalid."""

from collections.abc import Iterable, Mapping
from typing import Any

from tests.builders import DAY, NOW, Manifest, domain, identity, namespace, reference, stamp
from tests.changed_manifests import GONE
from tests.descriptor_sets import ORDER, descriptor_set
from troth.resources.kinds import KIND_BY_NAME
from troth.resources.messaging.message_broker import MessageBroker
from troth.resources.messaging.topic_policy import TopicPolicy
from troth.resources.messaging.topic_policy_status import GrantState
from troth.resources.references import Ref
from troth.resources.reviews.dead_letter_review import DeadLetterReview
from troth.trust.declarations.topics.messaging import Messaging, Uses
from troth.trust.declarations.topics.reviews import open_redrive
from troth.trust.grants import Grant
from troth.trust.topics.evaluation import TopicGrant

BY_NAME = {name: KIND_BY_NAME[name] for name in ("MessageBroker", "TopicPolicy")}
ACCOUNT = f"A{'B' * 55}"
OPERATOR = f"O{'B' * 55}"
GROUPS = ("fulfilment", "g", "other", "packing")
"""Prefixes of the groups in tests."""

KAFKA: Manifest = {
    "kafka": {
        "bootstrapServers": ["kafka.messaging.svc:9093"],
        "tls": {"caSecretRef": {"name": "kafka-ca"}},
        "adminSecretRef": {"name": "kafka-admin"},
    }
}
RABBITMQ: Manifest = {
    "rabbitmq": {
        "servers": ["rabbitmq.messaging.svc:5671"],
        "management": "rabbitmq.messaging.svc:15671",
        "adminSecretRef": {"name": "rabbitmq-admin"},
    }
}
NATS: Manifest = {
    "nats": {
        "servers": ["nats-0.nats.messaging.svc:4222", "nats-1.nats.messaging.svc:4222"],
        "account": ACCOUNT,
        "operator": OPERATOR,
        "tls": {},
        "adminSecretRef": {"name": "nats-admin"},
    }
}
MQTT: Manifest = {
    "mqtt": {"servers": ["10.0.0.7:8883"], "adminSecretRef": {"name": "mosquitto-admin"}}
}
VALKEY: Manifest = {
    "valkey": {"servers": ["valkey:6379"], "tls": {}, "adminSecretRef": {"name": "valkey-admin"}}
}
TYPES = (KAFKA, RABBITMQ, NATS, MQTT, VALKEY)


def broker(
    name: str = "main",
    namespace: str = "messaging",
    described: Manifest = KAFKA,
    *,
    owns: Iterable[str] = ("prod.",),
    principals: str = "troth-",
    groups: Iterable[str] = GROUPS,
    **spec: Any,
) -> Manifest:
    """Return a broker for the namespaces of the domain `production`.

    `groups` are the prefixes of the groups that it owns, and `spec` may have `more` of `owns`.
    """
    owned = {
        "topicPrefixes": list(owns),
        "principalPrefix": principals,
        "groupPrefixes": list(groups),
    }
    return {
        "apiVersion": "troth.dev/v1alpha1",
        "kind": "MessageBroker",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "environment": "production",
            "allowedNamespaces": {"matchLabels": {"domain": "production"}},
            "owns": owned | spec.pop("more", {}),
        }
        | described
        | spec,
    }


def policy(
    name: str = "orders",
    namespace: str = "shop",
    *,
    topic: Manifest | None = None,
    producers: Iterable[Manifest] = (),
    consumers: Iterable[Manifest] = (),
    at: tuple[str, str] = ("messaging", "main"),
    **spec: Any,
) -> Manifest:
    """Return a policy of the environment `production`."""
    return {
        "apiVersion": "troth.dev/v1alpha1",
        "kind": "TopicPolicy",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "brokerRef": reference(at[1], at[0]),
            "topic": topic or {"name": "prod.orders.v1"},
            "environment": "production",
            "producers": list(producers),
            "consumers": list(consumers),
        }
        | spec,
    }


def review(
    name: str = "fix", namespace: str = "shop", *, approved: bool = True, **spec: Any
) -> Manifest:
    """Return a review that redrives the dead letters of the policy `orders`."""
    approval = {"approval": {"approvedBy": "bob"}} if approved else {}
    return {
        "apiVersion": "troth.dev/v1alpha1",
        "kind": "DeadLetterReview",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "policy": {"name": "orders"},
            "action": "Redrive",
            "reason": "the consumer is fixed",
            "requestedBy": "alice",
        }
        | approval
        | spec,
    }


def producer(name: str, namespace: str | None = None) -> Manifest:
    return {"identity": reference(name, namespace)}


def consumer(name: str, group: str = "", namespace: str | None = None) -> Manifest:
    return {"identity": reference(name, namespace)} | ({"group": group} if group else {})


def messaging(
    *manifests: Manifest, uses: Mapping[tuple[str, str], tuple[list[Any], ...]] | None = None
) -> Messaging:
    """Return what these manifests declare; `uses` has the policies of each identity, by list."""
    declared = Messaging()
    for manifest in manifests:
        if manifest["kind"] == "MessageBroker":
            declared.put_broker(MessageBroker.parse(manifest))
        if manifest["kind"] == "TopicPolicy":
            declared.put_policy(TopicPolicy.parse(manifest))
        if manifest["kind"] == "DeadLetterReview":
            found = DeadLetterReview.parse(manifest)
            declared.reviews.put(found.ref, open_redrive(found))
    for place, lists in (uses or {}).items():
        named = (frozenset(Ref(*each) for each in listed) for listed in lists)
        declared.put_uses(Ref(*place), Uses(*named))
    return declared


# Valid and invalid manifests

BASES: dict[str, Manifest] = {
    "kafka": broker(
        workload={
            "podSelector": {"matchLabels": {"app": "kafka"}},
            "ports": [{"name": "clients", "port": 9093}],
        },
        mode="Plan",
        driftCheck="60s",
        brake={"maxRemovals": 20},
    ),
    "bare": broker(
        described={
            "kafka": {key: KAFKA["kafka"][key] for key in ("bootstrapServers", "adminSecretRef")}
        }
    ),
    "rabbitmq": broker(described=RABBITMQ),
    "nats": broker(described=NATS),
    "mqtt": broker(described=MQTT),
    "valkey": broker(described=VALKEY),
    "tp": policy(
        producers=[producer("checkout")],
        consumers=[
            consumer("fulfilment", "fulfilment") | {"tenants": ["acme", "Straße 1", "日本"]},
            consumer("audit", "", "compliance"),
        ],
        schema={
            "jsonSchema": {"type": "object", "properties": {"id": {"type": "string"}}},
            "accept": "Previous",
        },
        context={"require": ["Actor", "Tenant"], "evidence": "TransactionToken", "maxAge": "72h"},
        deadLetter={"topic": "prod.orders.v1.dlq", "review": "Required"},
        onDelete="Retain",
    ),
    "alone": policy(
        schema={"jsonSchema": {"type": "object"}},
        context={"require": ["Subject"], "evidence": "TransactionToken"},
    ),
    "prefix": policy(
        topic={"prefix": "prod.orders.", "stream": "ORDERS"},
        schema={"configMapRef": {"name": "orders", "key": "orders.json"}},
        deadLetter={"topic": "prod.dead.orders"},
    ),
    "reviewed": policy(
        topic={"name": "prod.orders.v1", "stream": "ORDERS"},
        consumers=[
            consumer("fulfilment", "g")
            | {"retry": {"topic": "prod.retry.fulfilment", "stream": "RETRY"}},
            consumer("audit", "", "compliance") | {"retry": {"topic": "prod.retry.audit"}},
        ],
        deadLetter={
            "topic": "prod.dead.orders",
            "stream": "DEAD",
            "reviewer": reference("troth-review", "troth-system"),
            "approvals": 0,
            "redriveLimit": 100,
            "retention": "87600h",
        },
    ),
    "avro": policy(schema={"avro": {"type": "record", "name": "Order", "fields": []}}),
    "protobuf": policy(
        schema={"protobuf": {"descriptorSet": descriptor_set(ORDER), "message": "shop.Order"}}
    ),
    "binary": policy(
        schema={
            "configMapRef": {
                "name": "orders",
                "key": "orders.binpb",
                "type": "Protobuf",
                "message": "shop.Order",
            }
        }
    ),
}
HOSTILE = (
    *("*", "prod.*", ">", "prod.>", "#", "prod.#", "+", "prod/+", "prod.orders ", "prod orders"),
    *("prod.\torders", "prod.orders\n", "prod.\x00", "prod.\x7f", "prod.\u200b", "prod.\u202e"),
    *(
        "pr\u043ed.orders",
        "prod.é",
        "{{name()}}",
        "prod.?",
        "prod.[a]",
        "$SYS",
        "a|b",
        "(a)",
        "a\\",
    ),
    *("'prod'", '"', "%", "prod,orders", "prod;", "User:a=b", "@", "^prod$"),
)
"""Invalid names: some broker could read them as several names, or as another one."""
UNPRINTABLE = (
    *("acme\n", "\nacme", "ac\tme", "acme\r", "ac\x00me", "acme\x7f", "ac\x85me", "\u200bacme"),
    *("\u202eacme", "ac\u2028me", "acme\u00a0", "ac\u3000me", "\ufeffacme", "acme\ue000"),
)
"""Texts that are not printable: a log could show them as something else."""
ELSE = {"servers": ["a:1"], "adminSecretRef": {"name": "a"}}
SERVERS = "spec.kafka.bootstrapServers"
PROTOBUF = "spec.schema.protobuf"
RETRY = "spec.consumers.0.retry"
WRONG: list[tuple[str, str, Any, str, str]] = [
    # base, changed path, value, path of the error, words of the message
    ("kafka", "spec.mqtt", ELSE, "spec", "set exactly one of kafka, rabbitmq, nats, mqtt"),
    ("mqtt", "spec.valkey", ELSE, "spec", "set exactly one of kafka, rabbitmq, nats, mqtt"),
    ("kafka", "spec.kafka", GONE, "spec", "set exactly one of kafka, rabbitmq, nats, mqtt"),
    ("kafka", "spec.environment", "a.b", "spec.environment", "write an environment"),
    ("kafka", SERVERS, [], SERVERS, "at least 1 item"),
    ("kafka", SERVERS, ["kafka"], "", "write a server as host:port"),
    ("kafka", SERVERS, ["kafka:0"], "", "write a server as host:port"),
    ("kafka", SERVERS, ["kafka:65536"], "", "write a server as host:port"),
    ("kafka", SERVERS, ["kafka:09093"], "", "write a server as host:port"),
    ("kafka", SERVERS, ["SSL://kafka:9093"], "", "write a server as host:port"),
    ("kafka", SERVERS, ["a:1", "a:1"], "", "once; it is listed twice"),
    ("kafka", "spec.kafka.adminSecretRef", GONE, "", "required; add it"),
    ("kafka", "spec.kafka.clients", "PLAIN", "", "'SCRAM' or 'MTLS'"),
    ("bare", "spec.kafka.clients", "MTLS", "spec.kafka", "set tls with clients: MTLS"),
    ("nats", "spec.nats.clients", "SCRAM", "", "'JWT' or 'MTLS'"),
    ("nats", "spec.nats.account", "SABC", "", "write the account's public key"),
    ("nats", "spec.nats.operator", GONE, "spec.nats.operator", "required; add it"),
    ("nats", "spec.nats.operator", ACCOUNT, "", "write the operator's public key"),
    ("rabbitmq", "spec.rabbitmq.management", "http://a", "", "write a server as host:port"),
    ("rabbitmq", "spec.rabbitmq.virtualHost", "a*", "", "write a virtual host as"),
    ("kafka", "spec.workload.ports", [], "spec.workload.ports", "at least 1 item"),
    ("kafka", "spec.workload.podSelector", {}, "", "select by at least one label"),
    ("kafka", "spec.workload.ports.0.name", "A", "", "write a port name"),
    ("kafka", "spec.allowedNamespaces", GONE, "spec.allowedNamespaces", "required; add it"),
    ("kafka", "spec.allowedNamespaces", {}, "", "select by at least one label"),
    (
        "kafka",
        "spec.allowedNamespaces",
        {"matchExpressions": [{"key": "a", "operator": "In"}]},
        "",
        "set values with In",
    ),
    ("kafka", "spec.allowedNamespaces", {"matchLabels": {"a b": "c"}}, "", "write a label key"),
    ("kafka", "spec.allowedNamespaces", {"matchLabels": {"a": "b c"}}, "", "write a label value"),
    ("kafka", "spec.owns.topicPrefixes", GONE, "spec.owns.topicPrefixes", "required; add it"),
    ("kafka", "spec.owns.topicPrefixes", [], "spec.owns.topicPrefixes", "at least 1 item"),
    ("kafka", "spec.owns.topicPrefixes", [""], "", "at least 1 character"),
    ("kafka", "spec.owns.topicPrefixes", ["p" * 250], "", "at most 249 characters"),
    ("kafka", "spec.owns.principalPrefix", GONE, "spec.owns.principalPrefix", "required; add it"),
    ("kafka", "spec.owns.principalPrefix", "", "spec.owns.principalPrefix", "at least 1 char"),
    ("kafka", "spec.owns.principalPrefix", "p" * 65, "", "at most 64 characters"),
    ("kafka", "spec.owns.principalPrefix", "User:", "", "write a principal prefix as"),
    ("kafka", "spec.owns.groupPrefixes", [""], "", "at least 1 character"),
    ("kafka", "spec.owns.sharedGroups", ["a", "a"], "", "once; it is listed twice"),
    ("kafka", "spec.owns.streams", ["a.b"], "", "write a stream name"),
    ("kafka", "spec.administrators", ["*"], "", "write a principal as Exclusive"),
    ("kafka", "spec.administrators", ["\u202ea"], "", "write a principal as Exclusive"),
    ("kafka", "spec.retention", "Keep", "spec.retention", "'Deny' or 'Allow'"),
    ("kafka", "spec.mode", "Off", "spec.mode", "'Enforce', 'Plan' or 'Observe'"),
    ("kafka", "spec.driftCheck", "9s", "spec.driftCheck", "write a duration between 10s and 1h"),
    ("kafka", "spec.driftCheck", "61m", "spec.driftCheck", "write a duration between 10s and 1h"),
    ("kafka", "spec.driftCheck", "often", "spec.driftCheck", "write a duration in hours"),
    (
        "kafka",
        "spec.brake.maxRemovals",
        -1,
        "spec.brake.maxRemovals",
        "write a number of at least 0",
    ),
    ("kafka", "spec.brake.maxRemovals", "20", "spec.brake.maxRemovals", "write a whole number"),
    ("kafka", "metadata.name", "m" * 64, "", "choose a name of at most 63 characters"),
    ("kafka", "metadata.name", "identity", "", "choose a name that is not identity"),
    ("tp", "spec.brokerRef", GONE, "spec.brokerRef", "required; add it"),
    ("tp", "spec.brokerRef.namespace", "a.b", "", "write a namespace name"),
    ("tp", "spec.topic", {}, "spec.topic", "set exactly one of name (one topic) and"),
    ("tp", "spec.topic.prefix", "prod.", "spec.topic", "set exactly one of name (one topic)"),
    ("tp", "spec.topic.name", "", "spec.topic.name", "at least 1 character"),
    ("tp", "spec.topic.name", "p" * 250, "spec.topic.name", "at most 249 characters"),
    ("prefix", "spec.topic.stream", "a.b", "spec.topic.stream", "write a stream name"),
    ("tp", "spec.environment", GONE, "spec.environment", "required; add it"),
    ("tp", "spec.producers.0.identity", GONE, "", "required; add it"),
    ("tp", "spec.producers.0.identity.name", "a_b", "", "write a Kubernetes name"),
    ("tp", "spec.producers.0.group", "a", "", "unknown field; remove it"),
    ("tp", "spec.consumers.0.group", "", "spec.consumers[0].group", "at least 1 character"),
    ("tp", "spec.schema", {}, "spec.schema", "set exactly one of jsonSchema, avro, protobuf"),
    (
        "tp",
        "spec.schema.configMapRef",
        {"name": "a"},
        "spec.schema",
        "set exactly one of jsonSchema",
    ),
    (
        "tp",
        "spec.schema.jsonSchema",
        "{}",
        "spec.schema.jsonSchema",
        "write fields with their values",
    ),
    ("tp", "spec.schema.jsonSchema", {}, "spec.schema.jsonSchema", "at least 1 item"),
    ("prefix", "spec.schema.configMapRef.key", "a/b", "", "write a key of the ConfigMap"),
    ("prefix", "spec.schema.configMapRef.type", "XML", "", "'JSONSchema', 'Avro' or 'Protobuf'"),
    (
        "prefix",
        "spec.schema.configMapRef.type",
        "Protobuf",
        "spec.schema.configMapRef",
        "set message with type Protobuf",
    ),
    (
        "prefix",
        "spec.schema.configMapRef.message",
        "shop.Order",
        "spec.schema.configMapRef",
        "set message with type Protobuf, and only with it",
    ),
    ("tp", "spec.schema.avro", {"type": "string"}, "spec.schema", "set exactly one of"),
    ("avro", "spec.schema.avro", {}, "spec.schema.avro", "at least 1 item"),
    ("avro", "spec.schema.avro", "string", "spec.schema.avro", "write fields with their values"),
    ("protobuf", f"{PROTOBUF}.descriptorSet", "", f"{PROTOBUF}.descriptorSet", "at least 1 char"),
    ("protobuf", f"{PROTOBUF}.descriptorSet", GONE, f"{PROTOBUF}.descriptorSet", "required; add"),
    ("protobuf", f"{PROTOBUF}.message", GONE, f"{PROTOBUF}.message", "required; add it"),
    ("protobuf", f"{PROTOBUF}.message", "", f"{PROTOBUF}.message", "at least 1 character"),
    ("protobuf", f"{PROTOBUF}.message", "shop..Order", "", "write the full name of a Protobuf"),
    ("protobuf", f"{PROTOBUF}.message", "shop.Order\n", "", "write the full name of a Protobuf"),
    ("tp", "spec.context", {}, "spec.context.require", "required; add it"),
    ("tp", "spec.context.require", [], "spec.context.require", "at least 1 item"),
    ("tp", "spec.context.require", ["Mood"], "", "'Actor', 'Subject', 'Tenant' or 'RequestID'"),
    ("tp", "spec.context.require", ["Actor", "Actor"], "", "once; it is listed twice"),
    ("tp", "spec.context.require", ["Subject"], "spec", "add Tenant to context.require, or"),
    ("tp", "spec.context", GONE, "spec", "add Tenant to context.require, or remove"),
    ("alone", "spec.context.require", ["Actor"], "spec.context", "require Subject, Tenant or Req"),
    ("tp", "spec.context.evidence", "Nobody", "", "'Producer' or 'TransactionToken'"),
    ("tp", "spec.context.maxAge", "59s", "", "write a duration between 1m and 2160h"),
    ("tp", "spec.context.maxAge", "2160h1s", "", "write a duration between 1m and 2160h"),
    ("tp", "spec.context.maxAge", "7d", "", "write a duration in hours"),
    ("tp", "spec.context.maxAge", 3600, "", "write a duration in hours"),
    ("tp", "spec.schema.accept", "All", "", "'Current' or 'Previous'"),
    ("tp", "spec.schema.jsonSchema", GONE, "spec.schema", "set exactly one of jsonSchema, avro"),
    ("tp", "spec.consumers.0.tenants", [], "", "at least 1 item"),
    ("tp", "spec.consumers.0.tenants", [""], "", "at least 1 character"),
    ("tp", "spec.consumers.0.tenants", ["t" * 257], "", "at most 256 characters"),
    ("tp", "spec.consumers.0.tenants", [f"t{n}" for n in range(65)], "", "at most 64 items"),
    ("tp", "spec.consumers.0.tenants", ["acme", "acme"], "", "once; it is listed twice"),
    ("tp", "spec.producers.0.tenants", ["acme"], "", "unknown field; remove it"),
    *(
        ("tp", "spec.consumers.0.tenants", [each], "", "write a tenant in printable characters")
        for each in UNPRINTABLE
    ),
    ("tp", "spec.deadLetter.topic", "prod.orders.v1", "spec", "that the policy's topic does not"),
    ("prefix", "spec.deadLetter.topic", "prod.orders.x", "spec", "that the policy's topic does"),
    ("tp", "spec.deadLetter.review", "Never", "", "'Required' or 'Optional'"),
    ("reviewed", "spec.deadLetter.stream", "a.b", "", "write a stream name"),
    ("reviewed", "spec.deadLetter.stream", "ORDERS", "spec", "choose a deadLetter.stream that"),
    ("reviewed", "spec.deadLetter.stream", "RETRY", "spec", "choose a deadLetter.stream that"),
    ("reviewed", "spec.deadLetter.reviewer", {}, "", "required; add it"),
    ("reviewed", "spec.deadLetter.reviewer.name", "a_b", "", "write a Kubernetes name"),
    ("reviewed", "spec.deadLetter.approvals", 2, "", "write a number of at most 1"),
    ("reviewed", "spec.deadLetter.approvals", -1, "", "write a number of at least 0"),
    ("reviewed", "spec.deadLetter.approvals", "1", "", "write a whole number"),
    ("reviewed", "spec.deadLetter.approvals", True, "", "write a whole number"),
    ("reviewed", "spec.deadLetter.redriveLimit", 0, "", "write a number of at least 1"),
    ("reviewed", "spec.deadLetter.redriveLimit", 101, "", "write a number of at most 100"),
    ("reviewed", "spec.deadLetter.retention", "59m", "", "write a duration between 1h and 87600h"),
    ("reviewed", "spec.deadLetter.retention", "87601h", "", "write a duration between 1h and"),
    ("reviewed", RETRY, {}, "spec.consumers[0].retry.topic", "required; add it"),
    ("reviewed", f"{RETRY}.stream", "a.b", "", "write a stream name"),
    ("reviewed", f"{RETRY}.topic", "prod.orders.v1", "spec", "choose a consumers[].retry.topic"),
    ("reviewed", f"{RETRY}.topic", "prod.dead.orders", "spec", "choose a consumers[].retry.topic"),
    ("reviewed", "spec.topic", {"prefix": "prod.retry."}, "spec", "choose a consumers[].retry.t"),
    ("reviewed", f"{RETRY}.topic", "prod.retry.audit", "spec", "use each consumers[].retry.topic"),
    ("reviewed", f"{RETRY}.group", "g", "", "unknown field; remove it"),
    ("tp", "spec.onDelete", "Keep", "spec.onDelete", "'Revoke' or 'Retain'"),
    *(("kafka", "spec.owns.topicPrefixes", [each], "", "write a topic prefix") for each in HOSTILE),
    *(
        ("kafka", "spec.owns.principalPrefix", each, "", "write a principal prefix")
        for each in HOSTILE
    ),
    *(("kafka", "spec.owns.groupPrefixes", [each], "", "write a group prefix") for each in HOSTILE),
    *(("tp", "spec.topic.name", each, "", "write a topic name as letters") for each in HOSTILE),
    *(
        ("prefix", "spec.topic.prefix", each, "", "write a topic prefix as letters")
        for each in HOSTILE
    ),
    *(("prefix", "spec.topic.stream", each, "", "write a stream name") for each in HOSTILE),
    *(("tp", "spec.deadLetter.topic", each, "", "write a topic name") for each in HOSTILE),
    *(("tp", "spec.consumers.0.group", each, "", "write a group name as") for each in HOSTILE),
    *(("reviewed", f"{RETRY}.topic", each, "", "write a topic name as") for each in HOSTILE),
]


def in_state(grants: Iterable[TopicGrant], state: GrantState) -> frozenset[Grant]:
    """Return the grants at the broker that are in a state."""
    return frozenset(
        each.grant for each in grants if each.state is state and each.grant is not None
    )


def older_claim(topic: str) -> list[Manifest]:
    """Return a policy of another environment that claims a topic at the same servers for longer.

    The objects around it let it stand, so the claim suspends grants on the topic of others.
    """
    rival = policy(
        "rival",
        "stage",
        environment="staging",
        at=("messaging", "staging"),
        topic={"name": topic},
        producers=[producer("guest")],
    )
    claim = {
        "kind": "Topic",
        "name": topic,
        "broker": "messaging/staging",
        "since": stamp(NOW - DAY),
    }
    return [
        domain("staging", environment="staging"),
        namespace("stage", domain="staging"),
        identity("guest", "stage", publishes=[{"policy": {"name": "rival"}}]),
        broker(
            "staging",
            environment="staging",
            principals="staging-",
            allowedNamespaces={"matchLabels": {"domain": "staging"}},
        ),
        {**rival, "status": {"claims": [claim]}},
    ]
