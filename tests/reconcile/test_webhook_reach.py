"""A sender's keys reach only the gateway they are for, and only while they are given."""

import base64
import copy
from datetime import timedelta

import pytest

from tests import builders
from tests.builders import HOUR, NOW, Manifest, stamp
from tests.reconcile.test_webhooks import (
    COMPILED,
    GIVEN,
    ROTATION,
    WEBHOOK,
    compiled,
    data,
    ready,
    settled,
    tried,
)
from tests.webhook_builders import BASES, ONE, TWO, endpoint, issued, keys, report
from tests.webhook_scene import OTHER, gateway
from tests.world.test_invalidation import broken
from troth.resources.references import Ref

AT_EDGE = "Secret", Ref("edge", "shop.stripe-charges")


@pytest.mark.parametrize(
    ("where", "reason"),
    [
        ([builders.namespace("edge")], "NoTrustDomain"),
        (
            [builders.namespace("edge", domain="staging"), builders.domain("staging")],
            "EnvironmentNotAllowed",
        ),
    ],
    ids=["of no trust domain", "of another environment"],
)
async def test_gateway_that_must_not_call_the_target_has_no_sender_key(
    where: list[Manifest], reason: str
) -> None:
    """Otherwise the author of an endpoint could move production's keys to staging."""
    async with settled(gateway("edge", "edge"), endpoint(gateway=OTHER), *where) as (server, it):
        assert AT_EDGE not in server.objects
        assert ready(server, "GatewayConfigured") == ("False", reason)
        assert server.condition(*WEBHOOK, "Stalled")["status"] == "True"
        await it.put(builders.namespace("edge", domain="production"))
        assert AT_EDGE in server.objects
        await it.put(where[0])
        assert AT_EDGE not in server.objects


async def test_compiled_endpoint_stays_while_the_gateway_domain_is_unsettled() -> None:
    async with settled() as (server, it):
        before = copy.deepcopy(server.objects[COMPILED])
        twin = builders.domain("twin", namespaceSelector={"matchLabels": {"webhooks": "yes"}})
        await it.put(twin)
        assert ready(server, "GatewayConfigured") == ("False", "NamespaceOverlap")
        assert server.objects[COMPILED] == before


@pytest.mark.parametrize("unsettled", ["source", "gateway"])
async def test_revoked_key_is_removed_even_while_the_rest_is_unsettled(
    unsettled: str,
) -> None:
    """A leaked key must not verify until another problem is fixed."""
    async with settled(issued(), keys(old=ONE, new=TWO)) as (server, it):
        before = server.objects[COMPILED]["data"]["endpoint.json"]
        if unsettled == "source":
            certificate = BASES["stripe"]["spec"]["inbound"]["source"]["clientCertificate"]
            await it.put(issued(source={"clientCertificate": certificate}))
        else:
            await it.put(broken(gateway()))
        assert set(tried(server)) == {"old", "new"}
        await it.put(keys(new=TWO, newer="whsec_the-third"))
        assert tried(server) == {"new": TWO.encode()}
        assert server.objects[COMPILED]["data"]["endpoint.json"] == before
        await it.drop(*GIVEN)
        assert COMPILED not in server.objects
        await it.put(keys(main=ONE))
        assert COMPILED not in server.objects, "nothing opens meanwhile"
        await it.put(issued())
        await it.put(gateway())
        assert tried(server) == {"main": ONE.encode()}


async def test_missing_pinned_certificates_are_not_fetched_from_aws_instead() -> None:
    sns = {"scheme": "SNS", "sns": BASES["sns"]["spec"]["inbound"]["sns"]}
    async with settled(endpoint(**sns)) as (server, it):
        assert compiled(server).target is not None
        await it.put(issued(**sns))
        assert ready(server) == ("False", "SecretMissing")
        assert compiled(server).target is None
        assert "Secret shop/stripe-signing with the label" in compiled(server).suspended


async def test_foreign_change_is_not_kept_while_the_rest_is_unsettled() -> None:
    async with settled(issued(), keys()) as (server, it):
        both = {"matchExpressions": [{"key": "domain", "operator": "Exists"}]}
        await it.put(builders.domain("rival", namespaceSelector=both))
        assert ready(server, "GatewayConfigured") == ("False", "NamespaceOverlap")
        before = copy.deepcopy(server.objects[COMPILED])
        await it.put(copy.deepcopy(before))
        assert server.objects[COMPILED]["data"] == before["data"], "what Troth wrote stands"
        document = data(before)["endpoint.json"].replace(b"payments.shop.svc", b"evil.east.svc")
        before["data"]["endpoint.json"] = base64.b64encode(document).decode()
        await it.put(before)
        assert COMPILED not in server.objects
        await it.drop("TrustDomain", Ref("", "rival"))
        assert ready(server) == ("True", "InPlace")


async def test_use_of_a_key_is_reported_once_an_hour() -> None:
    """Otherwise every endpoint with deliveries would have its status written all day."""
    used = [NOW + timedelta(minutes=each) for each in (0, 11, 22, 33, 44, 55, 66, 77)]
    async with settled(issued(), keys(main=ONE)) as (server, it):
        for moment in used:
            await it.put(report(main=moment))
        assert server.log == [WEBHOOK, WEBHOOK]
        assert server.objects[WEBHOOK]["status"]["keys"][0]["lastVerified"] == stamp(used[6])


async def test_status_offers_no_key_that_the_gateway_does_not_try() -> None:
    certificate = BASES["stripe"]["spec"]["inbound"]["source"]["clientCertificate"]
    async with settled() as (server, it):
        await it.put(endpoint(source={"clientCertificate": certificate}))
        await it.clock.move_to(NOW + HOUR)
        await it.put(
            builders.rotation("WebhookEndpoint", "stripe-charges", requestedAt=stamp(NOW + HOUR))
        )
        (blocker,) = server.objects[ROTATION]["status"]["blockers"]
        assert blocker.startswith("the gateway does not use k2 yet")
        await it.put(endpoint())
        assert set(tried(server)) == {"k1", "k2"}
        (blocker,) = server.objects[ROTATION]["status"]["blockers"]
        assert "give the sender what Secret" in blocker
