"""Plans of a webhook endpoint: its conditions, and the configuration of its gateway."""

import json
from datetime import timedelta
from typing import Any

import pytest

from tests import builders
from tests.builders import DAY, NOW, Cluster, Manifest, stamp
from tests.changed_manifests import changed
from tests.pki.keys.large_keys import large_key, pem
from tests.webhook_builders import (
    BASES,
    INBOUND,
    ONE,
    TWO,
    endpoint,
    issued,
    keys,
    leading,
    outbound,
    report,
)
from tests.webhook_scene import PROPAGATION, accepts_gateway, gateway, namespaces, scene, target
from troth.documents.webhook_endpoint import Endpoint, parse_endpoint
from troth.planning.steps.webhooks import ChangeWebhookKeys, CompileEndpoint
from troth.resources.references import Ref
from troth.resources.webhooks.endpoint_status import MOST_KEYS
from troth.resources.webhooks.schemes import SchemeName
from troth.webhooks.schemes.scheme import LONGEST_KEY
from troth.world.keys import webhook_key
from troth.world.observation.secret_data import MOST_ENTRIES
from troth.world.observation.webhook_secrets import generated_ref

CHARGES = webhook_key(Ref("shop", "stripe-charges"))
COMPILED = "Secret", Ref("troth-gateway", "shop.stripe-charges")
UNSIGNED = {"owner": "team", "reason": "their server is old"}


def shop(*instead: Manifest) -> Cluster:
    return settled(Cluster.of(builders.authority_secret(), *scene(*instead), leading()))


def settled(cluster: Cluster) -> Cluster:
    """Carry out every plan, and wait until the targets have read their documents."""
    cluster.settle()
    cluster.uptime += PROPAGATION.total_seconds()
    return cluster.settle()


def verdict(cluster: Cluster, type_: str = "Ready") -> tuple[str, str, str]:
    found = cluster.condition(CHARGES, type_)
    return found["status"], found["reason"], found.get("message", "")


def compiled_endpoint(cluster: Cluster) -> Endpoint:
    """Return the endpoint's entry in the gateway's configuration, according to the plan."""
    (step,) = (each for each in cluster.plan(CHARGES).steps if isinstance(each, CompileEndpoint))
    return parse_endpoint(step.document)


MANY = {f"key-{number}": f"{ONE}-{number}" for number in range(MOST_KEYS + 1)}
SHARED = target(accepts=[accepts_gateway(), builders.accept("checkout", "webhooks")])
WHY: list[tuple[str, list[Manifest], str, str, str]] = [
    # name, replacement, condition, reason, words of the message
    ("no Secret", [issued()], "SecretAvailable", "SecretMissing", "label the existing one"),
    (
        "a Secret without the label",
        [issued(), builders.secret("stripe-signing", "shop", main=ONE.encode())],
        "SecretAvailable",
        "SecretMissing",
        "with the label troth.dev/webhook-keys does not exist; create it, or label the existing",
    ),
    (
        "a Secret without keys",
        [issued(), keys() | {"data": {}}],
        "SecretAvailable",
        "NoKeys",
        "put the key that the sender issues into Secret shop/stripe-signing",
    ),
    (
        "a key of no use",
        [issued(), keys(main=ONE, other="short")],
        "SecretAvailable",
        "KeyUnusable",
        "cannot use what Secret shop/stripe-signing has under other",
    ),
    (
        "too many keys",
        [issued(), keys(**MANY)],
        "SecretAvailable",
        "TooManyKeys",
        "remove those that the sender no longer uses",
    ),
    (
        "too many entries to be read",
        [issued(), keys(**{f"key-{number}": "" for number in range(MOST_ENTRIES + 1)})],
        "SecretAvailable",
        "TooManyKeys",
        "has 33 entries, so Troth reads none of them and uses no key; keep only the keys that",
    ),
    (
        "a key that is too large",
        [issued(), keys(main=ONE, other="x" * (LONGEST_KEY + 1))],
        "SecretAvailable",
        "KeyUnusable",
        "under other (it is larger than 16384 bytes); put",
    ),
    (
        "a key of RSA that is too large",
        [issued("HTTPSignatures"), keys(main=pem(large_key(16384)).decode())],
        "SecretAvailable",
        "KeyUnusable",
        "under main (the key's kind or size is not supported; use Ed25519, ECDSA on P-256, or RSA",
    ),
    (
        "no gateway",
        [endpoint(gateway={"name": "edge", "namespace": "edge"})],
        "GatewayConfigured",
        "GatewayMissing",
        "ServiceIdentity edge/edge does not exist; install the gateway",
    ),
    (
        "a gateway that is none",
        [endpoint(gateway={"name": "payments"})],
        "GatewayConfigured",
        "GatewayNotServing",
        "add servesWebhooks to it",
    ),
    (
        "a namespace that it does not serve",
        [namespaces(webhooks="no")[-1]],
        "GatewayConfigured",
        "NamespaceNotAllowed",
        "label the namespace so that servesWebhooks.allowedNamespaces selects it",
    ),
    (
        "roots that are none",
        [
            changed(
                endpoint(),
                f"{INBOUND}.source",
                BASES["stripe"]["spec"]["inbound"]["source"],
            )
        ],
        "GatewayConfigured",
        "SourceInvalid",
        "source.clientCertificate: ",
    ),
    (
        "no target",
        [endpoint(target=endpoint()["spec"]["inbound"]["target"] | {"identity": {"name": "nil"}})],
        "TargetReachable",
        "TargetMissing",
        "ServiceIdentity shop/nil does not exist; create it, or correct target",
    ),
    (
        "no port",
        [target(ports=["https"], accepts=[])],
        "TargetReachable",
        "PortUndeclared",
        "declares no port webhooks",
    ),
    (
        "no consent",
        [target(accepts=[])],
        "TargetReachable",
        "NotAccepted",
        "add {from: {name: troth-gateway, namespace: troth-gateway}, ports: [webhooks]}",
    ),
    ("a port of many", [SHARED], "TargetReachable", "PortShared", "give webhooks a port of their"),
    (
        "no Service",
        [leading(target=8443)],
        "TargetReachable",
        "NoService",
        "has a TCP port with targetPort 9443 (webhooks) and selects only pods of",
    ),
    (
        "a port of another protocol",
        [target(ports=[("webhooks", 9443, "UDP")])],
        "TargetReachable",
        "NoService",
        "has a TCP port",
    ),
    (
        "a Service that leads elsewhere as well",
        [leading(selector={"tier": "web"})],
        "TargetReachable",
        "NoService",
        "create one",
    ),
    (
        "an end that has come",
        [endpoint(scheme="GitLabToken", acceptUnsigned=UNSIGNED | {"expiresAt": stamp(NOW)})],
        "UnsignedAccepted",
        "UnsignedExpired",
        "use scheme GitLab with a signing token",
    ),
    (
        "an end that is too far",
        [
            endpoint(
                scheme="GitLabToken",
                acceptUnsigned=UNSIGNED | {"expiresAt": stamp(NOW + 91 * DAY)},
            )
        ],
        "UnsignedAccepted",
        "UnsignedTooLong",
        "more than 90 days ahead",
    ),
]


@pytest.mark.parametrize(
    ("instead", "type_", "reason", "words"),
    [each[1:] for each in WHY],
    ids=[each[0] for each in WHY],
)
def test_fault_is_reported_with_its_correction(
    instead: list[Manifest], type_: str, reason: str, words: str
) -> None:
    cluster = shop(*instead)
    if any(each["kind"] == "Service" for each in instead):
        cluster.put(next(each for each in instead if each["kind"] == "Service"))
        cluster.settle()
    _, found, message = verdict(cluster, type_)
    assert (found, words in message) == (reason, True), (found, message)
    assert verdict(cluster)[:2] == ("False", reason)
    assert cluster.condition(CHARGES, "Stalled")["status"] == "True"


def test_complete_endpoint_is_ready_with_every_condition_true() -> None:
    cluster = shop()
    for type_ in ("Ready", "SecretAvailable", "GatewayConfigured", "TargetReachable"):
        assert verdict(cluster, type_)[0] == "True", type_


def test_valid_keys_are_used_beside_an_invalid_one() -> None:
    """Otherwise a typing error in the next key would stop every delivery."""
    cluster = shop(issued(), keys(main=ONE, other="short"))
    assert compiled_endpoint(cluster).target is not None
    (step,) = (e for e in cluster.plan(CHARGES).steps if isinstance(e, CompileEndpoint))
    assert set(step.keys) == {"main"}


def test_keys_in_use_stay_if_there_are_too_many() -> None:
    cluster = shop(issued(), keys(main=ONE))
    cluster.put(keys(main=ONE, **MANY))
    (step,) = (e for e in cluster.plan(CHARGES).steps if isinstance(e, CompileEndpoint))
    assert set(step.keys) == {"main"}
    cluster.put(keys(main=TWO, **MANY))
    (step,) = (e for e in cluster.plan(CHARGES).steps if isinstance(e, CompileEndpoint))
    assert step.keys == {}


def test_no_key_is_used_if_the_secret_has_too_many_entries() -> None:
    cluster = shop(issued(), keys(main=ONE))
    cluster.put(keys(main=ONE, **{f"key-{n}": f"{ONE}-{n}" for n in range(MOST_ENTRIES)}))
    (step,) = (e for e in cluster.plan(CHARGES).steps if isinstance(e, CompileEndpoint))
    assert step.keys == {}
    assert compiled_endpoint(cluster).target is None


def test_no_key_is_made_for_an_unread_secret() -> None:
    """Otherwise keys would be added to a full Secret again and again."""
    cluster = shop()
    ref = generated_ref(CHARGES.ref)
    made = cluster.objects["Secret", ref]
    cluster.put(made | {"data": {f"key-{number}": "" for number in range(MOST_ENTRIES + 1)}})
    assert verdict(cluster, "SecretAvailable")[1] == "TooManyKeys"
    assert not [e for e in cluster.plan(CHARGES).steps if isinstance(e, ChangeWebhookKeys)]


@pytest.mark.parametrize(
    ("service", "address"),
    [
        (leading(), ("payments.shop.svc", 443)),
        (leading(target="webhooks"), ("payments.shop.svc", 443)),
        (leading(clusterIP="None"), ("payments.shop.svc", 9443)),
        (leading("another"), ("another.shop.svc", 443)),
    ],
    ids=["by number", "by name", "headless", "the first by its name"],
)
def test_target_is_found_by_its_service(service: Manifest, address: tuple[str, int]) -> None:
    cluster = shop()
    cluster.put(service)
    found = compiled_endpoint(cluster).target
    assert found is not None
    assert (found.host, found.port) == address
    assert found.spiffe_id == "spiffe://production.example/ns/shop/sa/payments"
    assert (found.callee, found.path) == ("shop/payments", "/events/stripe")
    assert found.workflow == "settle-charge"


def test_gateway_configuration_has_every_declared_field() -> None:
    declared = changed(BASES["hmac"], f"{INBOUND}.source", {"cidrs": ["203.0.113.0/24"]})
    declared = changed(declared, f"{INBOUND}.tolerance", "30s")
    found = compiled_endpoint(shop(declared))
    assert found.signing.described is not None
    assert found.signing.described.model_dump(by_alias=True) == declared["spec"]["inbound"]["hmac"]
    assert found.source.cidrs == ("203.0.113.0/24",)
    assert (found.tolerance, found.replay_window) == (30, 24 * 3600)
    assert (found.limits.body, found.limits.requests_per_second) == (256 * 1024, 50)
    sns = compiled_endpoint(shop(BASES["sns"])).signing
    assert sns.topics == tuple(BASES["sns"]["spec"]["inbound"]["sns"]["topicARNs"])


def test_unsigned_deliveries_expire_at_the_gateway_too() -> None:
    end = NOW + 20 * DAY
    cluster = shop(
        endpoint(scheme="GitLabToken", acceptUnsigned=UNSIGNED | {"expiresAt": stamp(end)})
    )
    assert compiled_endpoint(cluster).accepts_unsigned_until == int(end.timestamp())
    assert verdict(cluster, "UnsignedAccepted")[1] == "UntilItsEnd"
    assert cluster.plan(CHARGES).due == end - 14 * DAY
    cluster.now = end - 14 * DAY
    assert verdict(cluster, "UnsignedAccepted")[:2] == ("True", "UnsignedEnding")
    assert verdict(cluster)[0] == "True"
    cluster.now = end
    assert compiled_endpoint(cluster).target is None
    assert "accepted until" in compiled_endpoint(cluster).suspended


def test_status_states_which_replays_remain_possible() -> None:
    def residual(manifest: Manifest) -> Any:
        status = shop(manifest).plan(CHARGES).status
        assert status is not None
        return status["residualReplay"]

    assert residual(endpoint()) == "none"
    assert residual(endpoint(scheme="GitHub", replayWindow="48h")) == (
        "GitHub signs no timestamp: a recorded delivery is accepted again after 48h, when the "
        "gateway no longer remembers it"
    )
    assert residual(endpoint(scheme="HMAC", hmac={"header": "X"})).startswith("HMAC signs no time")
    assert residual(BASES["hmac"]) == "none"
    assert residual(BASES["gitlab"]) == (
        "GitLabToken signs nothing: an attacker who has recorded one delivery can forge others "
        "at any time"
    )


def test_outbound_endpoint_is_not_supported_yet() -> None:
    cluster = shop()
    cluster.put(outbound("stripe-charges"))
    assert verdict(cluster)[:2] == ("False", "Unsupported")
    assert [type(step).__name__ for step in cluster.plan(CHARGES).steps] == ["Remove"]


def test_keys_are_listed_with_their_last_verification() -> None:
    cluster = shop(issued(), keys(new=TWO, old=ONE))
    cluster.put(report(old=NOW))
    cluster.settle()
    status = cluster.plan(CHARGES).status
    assert status is not None
    assert [(key["id"], key.get("lastVerified")) for key in status["keys"]] == [
        ("new", None),
        ("old", stamp(NOW)),
    ]
    cluster.drop("ConfigMap", Ref("troth-gateway", "troth-gateway-webhook-keys"))
    status = cluster.plan(CHARGES).status
    assert status is not None
    assert status["keys"][1]["lastVerified"] == stamp(NOW), "a report that is lost is no news"
    cluster.put(keys(new=TWO, old=f"{ONE}-anew"))
    status = cluster.plan(CHARGES).status
    assert status is not None
    assert "lastVerified" not in status["keys"][1], "of another key under the same id it says none"


def test_fingerprints_distinguish_keys_and_reveal_none() -> None:
    """Their salt is data that only readers of the Secret itself see."""
    cluster = shop(issued(), keys(one=ONE, two=TWO))
    more = scene(issued(), keys(one=ONE, two=TWO))
    others = (builders.namespace("one"), builders.namespace("more"))
    again = Cluster.of(*others, *more)  # so every uid is different
    shown = [
        key["fingerprint"]
        for each in (cluster, again)
        for key in (each.plan(CHARGES).status or {})["keys"]
    ]
    assert len(set(shown)) == 4
    assert json.dumps(shown).find(ONE) == -1


def test_report_of_another_gateway_is_ignored() -> None:
    cluster = shop(issued(), keys(main=ONE))
    made = report(main=NOW)
    cluster.put({**made, "metadata": made["metadata"] | {"namespace": "edge"}})
    status = cluster.plan(CHARGES).status
    assert status is not None
    assert "lastVerified" not in status["keys"][0]


@pytest.mark.parametrize("scheme", list(SchemeName))
def test_missing_secret_is_reported_for_every_scheme(scheme: SchemeName) -> None:
    more = {
        SchemeName.HMAC: {"hmac": {"header": "X"}},
        SchemeName.SNS: {"sns": BASES["sns"]["spec"]["inbound"]["sns"]},
        SchemeName.GITLAB_TOKEN: {
            "acceptUnsigned": UNSIGNED | {"expiresAt": stamp(NOW + timedelta(days=30))}
        },
    }.get(scheme, {})
    made = shop(issued(scheme, **more))
    assert verdict(made, "SecretAvailable")[1] == "SecretMissing"


def test_target_is_not_judged_without_a_gateway() -> None:
    cluster = shop(endpoint(gateway={"name": "edge", "namespace": "edge"}))
    assert verdict(cluster, "TargetReachable")[0] == "Unknown"
    cluster.put(gateway("edge", "edge"))
    assert verdict(cluster, "TargetReachable")[:2] == ("False", "NotAccepted")


def test_status_of_an_endpoint_does_not_depend_on_another() -> None:
    cluster = shop(target(accepts=[]))
    before = verdict(cluster)
    cluster.put(endpoint("another"))
    assert verdict(cluster) == before
