"""TR101: which names make a Secret the credential of a broker, and what the fix drafts."""

from typing import Any

import pytest

from tests import builders
from tests.audit.rules.scenes import container, deployment, findings, fixed, from_secret
from tests.builders import Manifest
from tests.cli.running import troth
from troth.audit.rules.credentials.shared_broker_secret import RULE
from troth.resources.manifests import dump


def pair(*env: Manifest, **spec: Any) -> list[Manifest]:
    """Return two workloads of two ServiceAccounts with the same variables and volumes."""
    return [deployment(name, containers=[container(*env)], **spec) for name in ("one", "two")]


def mounted(secret: str, *keys: str) -> Manifest:
    items = {"items": [{"key": each, "path": each} for each in keys]} if keys else {}
    return {"name": "files", "secret": {"secretName": secret, **items}}


@pytest.mark.parametrize(
    ("variable", "key"),
    [
        ("KAFKA_PASSWORD", "password"),
        ("SPRING_RABBITMQ_PASSWORD", "password"),
        ("NATS_TOKEN", "token"),
        ("CELERY_AMQP_URL", "url"),
        ("REDIS_URL", "url"),
        ("SASL_JAAS_CONFIG", "jaas"),
        ("PASSWORD", "sasl.jaas.config"),
        ("CREDENTIALS", "account.creds"),
        ("PASSWORD", "rabbitmq-password"),
    ],
)
def test_variable_or_key_says_that_a_secret_is_of_a_broker(variable: str, key: str) -> None:
    (found,) = findings(RULE, pair(from_secret(variable, "app", key)))
    assert str(found.subject) == "Secret shop/app"
    assert {str(each.object) for each in found.evidence} == {
        "Deployment shop/one",
        "Deployment shop/two",
    }


@pytest.mark.parametrize(
    ("variable", "secret", "key"),
    [
        ("KAFKA_BROKERS", "app", "brokers"),
        ("REDIS_HOST", "redis", "host"),
        ("DB_PASSWORD", "app", "password"),
        ("LDAP_SASL_PASSWORD", "app", "password"),
        ("POSTGRES_PASSWORD", "kafka-and-postgres", "postgres-password"),
        ("KAFKA_CA", "kafka-tls", "ca.crt"),
        ("SIGNATSTOKEN", "app", "token"),
    ],
)
def test_settings_roots_and_other_systems_do_not_count(
    variable: str, secret: str, key: str
) -> None:
    assert findings(RULE, pair(from_secret(variable, secret, key))) == ()


def test_name_of_a_mounted_secret_counts_unless_it_holds_roots_only() -> None:
    assert findings(RULE, pair(volumes=[mounted("orders-nats")]))
    assert not findings(RULE, pair(volumes=[mounted("main-cluster-ca-cert")]))
    assert not findings(RULE, pair(volumes=[mounted("kafka-ca")]))
    assert not findings(RULE, pair(volumes=[mounted("kafka-tls", "ca.crt")]))
    assert findings(RULE, pair(volumes=[mounted("kafka-tls", "ca.crt", "tls.key")]))
    assert findings(RULE, pair(volumes=[mounted("kafka-ca", "ca.key")])) == (), "it is an authority"


def test_known_keys_decide_about_a_secret_that_is_read_as_a_whole() -> None:
    workloads = pair(volumes=[mounted("app")])
    assert not findings(RULE, [*workloads, builders.secret("app", "shop", tls_crt=b"x")])
    assert findings(RULE, [*workloads, builders.secret("app", "shop", user_creds=b"x")])
    roots = builders.secret("kafka-shared", "shop", ca_crt=b"x")
    assert not findings(RULE, [*pair(volumes=[mounted("kafka-shared")]), roots])


def test_one_service_account_or_one_namespace_each_is_no_sharing() -> None:
    variable = from_secret("KAFKA_PASSWORD", "app")
    same = [
        deployment(name, account="both", containers=[container(variable)])
        for name in ("one", "two")
    ]
    assert findings(RULE, same) == ()
    elsewhere = pair(variable)
    elsewhere[1]["metadata"]["namespace"] = "finance"
    assert findings(RULE, elsewhere) == ()


def test_login_beside_different_brokers_is_no_evidence() -> None:
    login = from_secret("PASSWORD", "app")
    brokers = ("one.example:9092", "two.example:9092")
    same, others = (
        [
            deployment(name, containers=[container(login, {"name": "BOOTSTRAP", "value": address})])
            for name, address in zip(("one", "two"), addresses, strict=True)
        ]
        for addresses in ((brokers[0],) * 2, brokers)
    )
    assert findings(RULE, same)
    assert findings(RULE, others) == ()
    two = from_secret("ADMIN_PASSWORD", "admin")
    ambiguous = [
        deployment(
            name,
            containers=[container(login, two, {"name": "BOOTSTRAP", "value": brokers[0]})],
        )
        for name in ("one", "two")
    ]
    assert findings(RULE, ambiguous) == (), "either login may be the broker's"


def test_broker_is_no_reader_and_a_client_beside_another_broker_is_one() -> None:
    login, cache = from_secret("KAFKA_PASSWORD", "app"), container(port=6379)
    client = deployment("one", containers=[container(login)])
    beside = deployment("two", containers=[container(login), cache])
    assert findings(RULE, [client, beside])
    server = container(login, port=9092)
    assert not findings(RULE, [client, deployment("two", containers=[server])])
    assert not findings(RULE, [client, deployment("two", containers=[server, container()])])
    assert not findings(RULE, [client, deployment("two", containers=[container(), server])])


def test_broker_is_the_container_that_mounts_the_secret() -> None:
    volumes = [mounted("orders-kafka")]
    mounts: Any = {"volumeMounts": [{"name": "files", "mountPath": "/etc/login"}]}
    client = deployment("one", containers=[container(**mounts)], volumes=volumes)

    def two(*containers: Manifest) -> Manifest:
        return deployment("two", containers=list(containers), volumes=volumes)

    assert findings(RULE, [client, two(container(**mounts), container(port=6379))])
    assert not findings(RULE, [client, two(container(), container(port=9092, **mounts))])


def test_broker_that_a_message_broker_selects_is_no_reader() -> None:
    server, client = pair(from_secret("KAFKA_PASSWORD", "app"))
    broker: Manifest = {
        "apiVersion": "troth.dev/v1alpha1",
        "kind": "MessageBroker",
        "metadata": {"name": "main", "namespace": "shop"},
        "spec": {
            "environment": "production",
            "kafka": {
                "bootstrapServers": ["kafka.shop.svc:9093"],
                "tls": {"caSecretRef": {"name": "kafka-ca"}},
                "adminSecretRef": {"name": "kafka-admin"},
            },
            "workload": {
                "podSelector": {"matchLabels": {"app": "one"}},
                "ports": [{"name": "clients", "port": 9093}],
            },
            "allowedNamespaces": {"matchLabels": {"domain": "production"}},
            "owns": {"topicPrefixes": ["prod."], "principalPrefix": "troth-"},
        },
    }
    assert findings(RULE, [server, client])
    assert findings(RULE, [server, client, broker]) == ()


def test_pods_of_an_unknown_controller_are_readers() -> None:
    spec = {
        "serviceAccountName": "two",
        "containers": [container(from_secret("NATS_TOKEN", "app"))],
    }
    pods = [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": f"two-{number}",
                "namespace": "shop",
                "labels": {"app": "two"},
                "ownerReferences": [{"kind": "Rollout", "name": "two", "controller": True}],
            },
            "spec": spec,
            "status": {"phase": "Running"},
        }
        for number in range(3)
    ]
    (found,) = findings(RULE, [pair(from_secret("NATS_TOKEN", "app"))[0], *pods], in_cluster=True)
    assert [str(each.object) for each in found.evidence] == [
        "Deployment shop/one",
        "Rollout shop/two",
    ]


def test_secret_with_foreign_labels_is_not_troth_s() -> None:
    identity = builders.identity("one")
    reader = deployment("two", volumes=[mounted("one-identity")])
    ours = builders.owned(builders.secret("one-identity", "shop"), "ServiceIdentity", "one")
    theirs = builders.secret("one-identity", "shop")
    assert findings(RULE, [identity, reader])
    assert findings(RULE, [identity, reader, ours])
    assert findings(RULE, [identity, reader, theirs]) == ()


def test_pod_with_the_labels_of_an_identity_and_another_account_is_foreign() -> None:
    secret = mounted("one-identity")
    stranger = deployment("one", account="other", volumes=[secret])
    assert findings(RULE, [builders.identity("one"), deployment("one", volumes=[secret])]) == ()
    assert findings(RULE, [builders.identity("one"), stranger])


def test_finding_is_the_same_for_more_readers() -> None:
    variable = from_secret("KAFKA_PASSWORD", "app")
    (before,) = findings(RULE, pair(variable))
    third = deployment("three", containers=[container(variable)])
    (after,) = findings(RULE, [*pair(variable), third])
    assert (before.id, before.message) == (after.id, after.message)


def test_fix_patches_an_identity_that_exists_and_keeps_its_topics(tmp_path: Any) -> None:
    broker: Manifest = {
        "apiVersion": "troth.dev/v1alpha1",
        "kind": "MessageBroker",
        "metadata": {"name": "main", "namespace": "shop"},
        "spec": {
            "environment": "production",
            "kafka": {
                "bootstrapServers": ["kafka.shop.svc:9093"],
                "tls": {"caSecretRef": {"name": "kafka-ca"}},
                "adminSecretRef": {"name": "kafka-admin"},
            },
            "allowedNamespaces": {"matchLabels": {"domain": "production"}},
            "owns": {
                "topicPrefixes": ["prod."],
                "principalPrefix": "troth-",
                "groupPrefixes": ["prod."],
            },
        },
    }
    shop = [builders.namespace("shop", domain="production"), builders.domain(), broker]
    workloads = pair(from_secret("KAFKA_PASSWORD", "app"))
    fix, after = fixed(RULE, [*shop, *workloads, builders.identity("one")])
    assert [each["metadata"]["name"] for each in fix.manifests] == ["two", "app-topic"]
    (patch,) = fix.patches
    use = {"policy": {"name": "app-topic"}}
    assert patch.patch == {"spec": {"publishes": [use], "consumes": [use]}}
    file = tmp_path / "fixed.yaml"
    file.write_text("---\n".join(dump(each) for each in after if each["kind"] != "Deployment"))
    ended = troth("check", "-f", str(file), "--fail-on", "error")
    assert ended.code == 0, ended.output


def test_no_value_of_a_secret_is_in_a_finding() -> None:
    secret = builders.secret("app", "shop", password=b"canary-in-a-secret")
    secret["stringData"] = {"sasl.jaas.config": "canary-in-text"}
    variables = [from_secret("KAFKA_PASSWORD", "app"), {"name": "PLAIN", "value": "canary-plain"}]
    found = findings(RULE, [secret, *pair(*variables)])
    assert found
    assert "canary" not in repr(found)
