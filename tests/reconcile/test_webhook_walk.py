"""Every field of a WebhookEndpoint is changed and changed back.

The change takes effect in the part named here. After the field is changed back, the gateway's
configuration, Troth's Secrets and the status equal those before. The fields are those of the
generated CRD.
"""

import asyncio
import base64
import copy
import hashlib
import json
from typing import Any

import pytest

from tests import builders
from tests.builders import DAY, NOW, Manifest, stamp
from tests.reconcile.fields import GONE, Change, Field, all_fields, changed
from tests.reconcile.serving import Server, running
from tests.webhook_builders import ONE, TOPIC, TWO, endpoint, issued, keys, leading
from tests.webhook_scene import PROPAGATION, accepts_gateway, gateway, scene, target
from troth.resources.references import Ref

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
]
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
CHANGES = {
    ".".join(filter(None, ("WebhookEndpoint.inbound", path))): each
    for path, each in INBOUND.items()
}
FIELDS = [
    each
    for each in all_fields()
    if each.kind == "WebhookEndpoint" and each.path[0] == "inbound"  # outbound is not implemented
]


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
    other = builders.identity("ledger", ports=ports[:1], accepts=consent[:1])
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


def account(server: Server) -> dict[tuple[str, str], Any]:
    """Return everything about webhooks, without random values and history."""
    found: dict[tuple[str, str], Any] = {}
    for (kind, ref), each in server.objects.items():
        if kind == "WebhookEndpoint":
            found[STATUS, str(ref)] = _without_past(each.get("status", {}))
        if kind == "Secret" and each.get("type") == "troth.dev/webhook":
            data = {name: base64.b64decode(value) for name, value in each["data"].items()}
            found[TOLD, str(ref)] = json.loads(data.pop("endpoint.json"))
            found[KEPT, str(ref)] = (each["metadata"]["labels"], sorted(data))
            found[KEYS, str(ref)] = hashlib.sha256(repr(sorted(data.items())).encode()).digest()
        if kind == "Secret" and each.get("type") == "troth.dev/webhook-keys":
            found[KEPT, str(ref)] = (each["metadata"]["labels"], len(each["data"]))
    return found


PAST = {"observedGeneration", "lastTransitionTime", "fingerprint", "id"}


def _without_past(part: Any) -> Any:
    match part:
        case dict():
            return {name: _without_past(each) for name, each in part.items() if name not in PAST}
        case list():
            return [_without_past(each) for each in part]
        case _:
            return part


def differing(one: dict[Any, Any], other: dict[Any, Any]) -> set[tuple[str, str]]:
    return {part for part in one.keys() | other.keys() if one.get(part) != other.get(part)}


@pytest.mark.parametrize("field", FIELDS, ids=str)
def test_field_takes_effect_and_leaves_no_trace(field: Field) -> None:
    change = CHANGES[str(field)]

    async def story() -> None:
        server = Server(cluster())
        async with running(server, due=True) as it:
            await it.settle()
            await it.live(PROPAGATION)
            start = account(server)
            before, after = changed(field, change, server.objects, DECLARED)
            await it.put(after)
            await it.live(PROPAGATION)
            effect = differing(start, account(server))
            assert change.shows in {what for what, _ in effect}, sorted(effect)
            mine = f"{Ref.of(after).name}", f"{Ref.of(after).name}-webhook"
            assert all(where.endswith(mine) for _, where in effect), "of others nothing changes"
            await it.put(before)
            await it.live(PROPAGATION)
            trace = {what for what in differing(start, account(server)) if what[0] != KEYS}
            assert not trace

    asyncio.run(story())


def test_every_field_has_its_change_and_every_change_its_field() -> None:
    assert {str(each) for each in FIELDS} == CHANGES.keys()


def test_declared_endpoints_are_ready() -> None:
    """Otherwise a field may show no effect because its endpoint is not ready."""

    async def story() -> None:
        server = Server(cluster())
        async with running(server, due=True) as it:
            await it.settle()
            await it.live(PROPAGATION)
            for each in DECLARED:
                ready = server.condition("WebhookEndpoint", Ref.of(each), "Ready")
                assert ready["status"] == "True", (Ref.of(each), ready)

    asyncio.run(story())
