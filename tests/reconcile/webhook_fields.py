"""Every field of a WebhookEndpoint: a cluster that uses them all, and another value for each."""

import base64
import copy

from tests import builders
from tests.builders import DAY, NOW, Manifest, stamp
from tests.reconcile.fields import GONE, NOTHING, Change, fields
from tests.webhook_builders import ONE, TOPIC, TWO, endpoint, issued, keys, leading, outbound
from tests.webhook_scene import accepts_gateway, gateway, scene, target

UNSIGNED = {"owner": "team", "reason": "old server", "expiresAt": stamp(NOW + 30 * DAY)}
PEM = builders.root("sender.example")[0].decode()
OTHER_PEM = builders.root("sender.example", "second")[0].decode()
TARGET = endpoint()["spec"]["inbound"]["target"]
DECLARED: list[Manifest] = [
    issued(
        name="stripe",
        source={
            "cidrs": ["203.0.113.0/24"],
            "clientCertificate": {"sans": ["DNS:a.sender.example"], "caBundle": PEM},
        },
    ),
    endpoint("described", scheme="HMAC", hmac={"header": "X-Signature", "idHeader": "X-Id"}),
    endpoint(
        "timed",
        scheme="HMAC",
        hmac={"header": "X", "signed": "{timestamp}.{body}", "timestampHeader": "X-Time"},
    ),
    endpoint("sns", scheme="SNS", sns={"topicARNs": [TOPIC]}),
    issued(
        "HTTPSignatures",
        "http-key",
        name="http",
        httpSignatures={"components": ["@authority"]},
        gateway={"name": "troth-gateway", "namespace": "troth-gateway"},
        limits={"body": "256Ki", "requestsPerSecond": 50},
    ),
    endpoint("gitlab", scheme="GitLabToken", acceptUnsigned=UNSIGNED),
    outbound(
        pin={"caBundleRef": {"name": "partner"}, "publicKeys": [f"sha256/{'A' * 43}="]},
        retries={"schedule": ["5s", "5m"]},
    ),
]
UNSERVED = {"partner"}
"""Names of endpoints that Troth does not serve yet."""
TOLD, KEYS, KEPT, STATUS = "told", "key", "kept", "status"
"""The gateway's configuration, the gateway's keys, the Secrets that exist, and the status."""
INBOUND: dict[str, Change] = {
    "": Change(
        STATUS,
        GONE,
        beside={"outbound": {"url": "https://a.example", "sender": {"identity": {"name": "a"}}}},
    ),
    "scheme": Change(TOLD, "Slack", at="stripe"),
    "secretRef": Change(KEYS, {"name": "other"}, at="stripe"),
    "secretRef.name": Change(KEYS, "other", at="stripe"),
    "tolerance": Change(TOLD, "30s"),
    "replayWindow": Change(TOLD, "48h"),
    "source": Change(TOLD),
    "source.cidrs": Change(TOLD),
    "source.clientCertificate": Change(TOLD),
    "source.clientCertificate.sans": Change(TOLD, ["DNS:b.sender.example"]),
    "source.clientCertificate.caBundle": Change(TOLD, OTHER_PEM),
    "publicURL": Change(STATUS, "https://hooks.shop.example/other"),
    "gateway": Change(KEPT, {"name": "edge", "namespace": "edge"}),
    "gateway.name": Change(KEPT, "edge", beside={"inbound.gateway.namespace": "edge"}),
    "gateway.namespace": Change(KEPT, "edge", beside={"inbound.gateway.name": "edge"}),
    "target.identity.name": Change(TOLD, "ledger"),
    "target.port": Change(TOLD, "other"),
    "target.path": Change(TOLD, "/other"),
    "target.workflow": Change(TOLD, "other"),
    "limits": Change(TOLD, {"body": "1Mi"}),
    "limits.body": Change(TOLD, "1Mi"),
    "limits.requestsPerSecond": Change(TOLD, 7),
    "hmac": Change(TOLD, {"header": "X-Other"}),
    "hmac.header": Change(TOLD, "X-Other"),
    "hmac.prefix": Change(TOLD, "v1="),
    "hmac.signed": Change(TOLD, "{id}.{body}", at="described"),
    "hmac.digest": Change(TOLD),
    "hmac.encoding": Change(TOLD),
    "hmac.timestampHeader": Change(TOLD, "X-Other", at="timed"),
    "hmac.idHeader": Change(TOLD),
    "sns": Change(TOLD, {"topicARNs": [f"{TOPIC}-2"]}, at="sns"),
    "sns.topicARNs": Change(TOLD, [f"{TOPIC}-2"]),
    "httpSignatures": Change(TOLD),
    "httpSignatures.components": Change(TOLD, ["date"]),
    "acceptUnsigned": Change(TOLD, GONE, at="gitlab", beside={"inbound.scheme": "GitHub"}),
    "acceptUnsigned.reason": Change(STATUS, "another reason"),
    "acceptUnsigned.owner": Change(STATUS, "another team"),
    "acceptUnsigned.expiresAt": Change(TOLD, stamp(NOW + 31 * DAY)),
}
OUTBOUND: dict[str, Change] = {
    "": Change(STATUS, GONE, beside={"inbound": endpoint()["spec"]["inbound"]}, leaves=KEPT),
    "url": Change(NOTHING, "https://other.example/hooks"),
    "scheme": Change(NOTHING),
    "pin": Change(NOTHING),
    "pin.caBundleRef": Change(NOTHING),
    "pin.caBundleRef.name": Change(NOTHING, "other"),
    "pin.publicKeys": Change(NOTHING),
    "sender.identity.name": Change(NOTHING, "ledger"),
    "retries": Change(NOTHING),
    "retries.schedule": Change(NOTHING, ["1m"]),
}
CHANGES = {
    ".".join(filter(None, ("WebhookEndpoint", part, path))): each
    for part, changes in (("inbound", INBOUND), ("outbound", OUTBOUND))
    for path, each in changes.items()
}
FIELDS = fields(webhooks=True)


def cluster() -> list[Manifest]:
    """Return a cluster with another gateway, another target, another port and another Secret."""
    consent = [
        accepts_gateway("webhooks", "other"),
        accepts_gateway("webhooks", "other", name="edge", namespace="edge"),
    ]
    ports = [("webhooks", 9443), ("other", 9444)]
    usual = [
        each
        for each in scene(gateway("edge", "edge"), target(ports=ports, accepts=consent[:1]))
        if each["kind"] != "WebhookEndpoint"
    ]
    other = builders.identity("ledger", ports=ports[:1], accepts=[accepts_gateway("webhooks")])
    service = leading()
    service["spec"]["ports"].append({"name": "other", "port": 444, "targetPort": 9444})
    return [
        *usual,
        other,
        {**leading("ledger"), "spec": leading()["spec"] | {"selector": {"app": "ledger"}}},
        service,
        keys(main=ONE),
        keys("other", main=TWO),
        keys("http-key", main=f"hmac-sha256:{base64.b64encode(ONE.encode()).decode()}"),
        *copy.deepcopy(DECLARED),
    ]
