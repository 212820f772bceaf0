"""The gateway's copy of an endpoint: few requests, drift restored, deleted with the endpoint."""

import asyncio
import base64
import copy
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import pytest

from tests import builders
from tests.builders import HOUR, NOW, Manifest, stamp
from tests.reconcile.serving import Crashed, Running, Server, running
from tests.webhook_builders import ONE, TWO, endpoint, issued, keys, leading, outbound, report
from tests.webhook_scene import PROPAGATION, gateway, namespaces, scene, target
from troth.cluster.errors import ApiError
from troth.documents.webhook_endpoint import Endpoint, parse_endpoint
from troth.resources.references import Ref
from troth.webhooks.gateway.routes import served
from troth.webhooks.schemes.delivery import Delivery
from troth.webhooks.schemes.registry import usable_for
from troth.webhooks.schemes.scheme import Stamp
from troth.world.watch_class import GIVEN as GIVEN_SECRET

CHARGES = Ref("shop", "stripe-charges")
WEBHOOK = "WebhookEndpoint", CHARGES
MADE = "Secret", Ref("shop", "stripe-charges-webhook")
GIVEN = "Secret", Ref("shop", "stripe-signing")
WRITES = 14
"""Writes needed to set up a shop with a webhook."""
COMPILED = "Secret", Ref("troth-gateway", "shop.stripe-charges")
ROTATION = "CredentialRotation", Ref("shop", "stripe-charges-rotation")


class Counting(Server):
    """Counts reads."""

    def __init__(self, objects: Iterable[Manifest] = ()) -> None:
        super().__init__(objects)
        self.reads: list[Any] = []

    async def get(self, kind: str, ref: Ref) -> Manifest:
        self.reads.append((kind, ref))
        return await super().get(kind, ref)


def shop(*instead: Manifest) -> Counting:
    return Counting([*scene(*instead), leading()])


@asynccontextmanager
async def settled(*instead: Manifest) -> AsyncIterator[tuple[Counting, Running]]:
    """Start an engine on a shop and wait until everything is in place."""
    server = shop(*instead)
    async with running(server, due=True) as it:
        await it.settle()
        await it.live(PROPAGATION)
        server.log.clear()
        server.reads.clear()
        server.events.clear()
        yield server, it


async def converge(server: Server, now: datetime = NOW) -> None:
    """Run an engine until nothing is left to do and the targets have read their configuration."""
    async with running(server, now, due=True) as it:
        await it.settle()
        await it.live(PROPAGATION)


def data(manifest: Manifest) -> dict[str, bytes]:
    return {name: base64.b64decode(value) for name, value in manifest["data"].items()}


def compiled(server: Server) -> Endpoint:
    return parse_endpoint(data(server.objects[COMPILED])["endpoint.json"])


def tried(server: Server) -> dict[str, bytes]:
    """Return the keys that the gateway has, as it reads them."""
    found = data(server.objects[COMPILED])
    served(found)  # the gateway serves an endpoint as a whole or not at all
    return {name[4:]: value for name, value in found.items() if name.startswith("key.")}


def ready(server: Server, type_: str = "Ready") -> tuple[str, str]:
    condition = server.condition("WebhookEndpoint", CHARGES, type_)
    return condition["status"], condition["reason"]


def written(server: Server) -> list[tuple[str, str]]:
    return sorted((kind, ref.name) for kind, ref in server.log)


# Requests


async def test_new_endpoint_costs_one_read_and_two_writes() -> None:
    async with settled(issued(), keys()) as (server, it):
        await it.put(issued(name="second"))
        assert server.reads == [GIVEN]
        assert written(server) == [
            ("Secret", "payments-identity"),  # the target's, which lists the endpoint
            ("Secret", "shop.second"),
            ("WebhookEndpoint", "second"),
        ]


async def test_generated_secret_costs_a_third_write() -> None:
    async with settled(issued(), keys()) as (server, it):
        await it.put(endpoint("second"))
        assert len(server.reads) == 1
        assert written(server)[1:] == [
            ("Secret", "second-webhook"),
            ("Secret", "shop.second"),
            ("WebhookEndpoint", "second"),
        ]


@pytest.mark.parametrize("declared", [endpoint(), issued(), outbound()])
async def test_restart_of_a_settled_endpoint_costs_nothing(declared: Manifest) -> None:
    server = shop(declared, keys())
    await converge(server)
    server.log.clear()
    server.events.clear()
    server.reads.clear()
    await converge(server, NOW + PROPAGATION)
    assert (server.log, server.events, server.reads) == ([], [], [])


async def test_unrelated_identity_costs_an_endpoint_nothing() -> None:
    async with settled() as (server, it):
        await it.put(builders.identity("other"))
        assert "shop.stripe-charges" not in {name for _, name in written(server)}
        assert server.reads == []


# Contents of the gateway's Secret


async def test_gateway_can_serve_the_compiled_endpoint() -> None:
    async with settled() as (server, _):
        found, made = served(data(server.objects[COMPILED])), data(server.objects[MADE])
        delivery = Delivery("POST", b"/shop/stripe-charges", (), b'{"a": 1}')
        now = int(NOW.timestamp())
        key = found.scheme.key("k1", made["k1"])
        signed = found.scheme.sign(delivery, key, Stamp(now, "msg_1"))
        assert found.scheme.verify(signed, found.keys, now, 300).key_id == "k1"
        assert found.endpoint.target is not None
        assert (found.endpoint.target.host, found.endpoint.target.port) == (
            "payments.shop.svc",
            443,
        )
        assert found.endpoint.path == "/shop/stripe-charges"
        assert ready(server) == ("True", "InPlace")


async def test_compiled_secret_has_its_gateway_label_and_no_owner() -> None:
    async with settled() as (server, _):
        metadata = server.objects[COMPILED]["metadata"]
        assert metadata["labels"]["troth.dev/webhook-gateway"] == "troth-gateway"
        assert server.objects[COMPILED]["type"] == "troth.dev/webhook"
        assert "ownerReferences" not in metadata, "its owner is in another namespace"
        assert server.objects[MADE]["metadata"]["ownerReferences"][0]["name"] == "stripe-charges"


async def test_second_sender_key_counts_at_once() -> None:
    async with settled(issued(), keys(old=ONE)) as (server, it):
        await it.put(keys(old=ONE, new=TWO))
        assert tried(server) == {"old": ONE.encode(), "new": TWO.encode()}
        assert [key["id"] for key in server.objects[WEBHOOK]["status"]["keys"]] == ["new", "old"]
        await it.put(keys(new=TWO))
        assert tried(server) == {"new": TWO.encode()}


async def test_key_that_changed_meanwhile_is_not_copied() -> None:
    """A user may write the Secret between the watch event and the read."""
    async with settled(issued(), keys(main=ONE)) as (server, it):
        server.put(keys(main=TWO))  # the watch is late
        await it.put(issued(limits={"body": "1Ki"}))
        assert tried(server) == {"main": ONE.encode()}
        it.engine.observe(copy.deepcopy(server.objects[GIVEN]))
        await it.settle()
        assert tried(server) == {"main": TWO.encode()}


async def test_secret_that_lost_its_label_meanwhile_is_not_copied() -> None:
    async with settled(issued(), keys(main=ONE)) as (server, it):
        before = server.objects[COMPILED]
        bare = keys(main=ONE)
        bare["metadata"]["labels"] = {}
        server.put(bare)  # the watch is late
        it.engine.observe(server.put(issued(limits={"body": "1Ki"})))
        while GIVEN not in server.reads:  # noqa: ASYNC110 - one worker
            await asyncio.sleep(0.01)
        assert server.objects[COMPILED] == before
        it.engine.forget(GIVEN_SECRET, GIVEN[1], server._version)
        await it.settle()
        assert tried(server) == {}


async def test_drift_of_the_compiled_secret_is_restored_and_reported_once() -> None:
    async with settled() as (server, it):
        before = copy.deepcopy(server.objects[COMPILED]["data"])
        broken = copy.deepcopy(server.objects[COMPILED])
        broken["data"]["key.mine"] = base64.b64encode(b"whsec_" + 8 * b"AAAA").decode()
        await it.put(broken)
        assert server.objects[COMPILED]["data"] == before
        assert server.reasons() == ["Repaired"]
        assert written(server) == [("Secret", "shop.stripe-charges")]


@pytest.mark.parametrize("how", ["document", "key", "label", "annotation", "listed"])
async def test_drift_of_any_part_is_restored(how: str) -> None:
    async with settled() as (server, it):
        before = copy.deepcopy(server.objects[COMPILED])
        broken = copy.deepcopy(before)
        match how:
            case "document":
                broken["data"]["endpoint.json"] = "e30="
            case "key":
                broken["data"]["key.k1"] = base64.b64encode(b"whsec_" + 8 * b"AAAA").decode()
            case "label":
                broken["metadata"]["labels"]["troth.dev/webhook-gateway"] = "other"
            case "listed":
                broken["metadata"]["annotations"]["troth.dev/webhook-listed"] = ""
            case _:
                broken["metadata"]["annotations"]["troth.dev/webhook-keys"] = "{}"
        await it.put(broken)
        for part in ("labels", "annotations"):
            assert server.objects[COMPILED]["metadata"][part] == before["metadata"][part]
        assert server.objects[COMPILED]["data"] == before["data"]
        assert server.reasons() == ["Repaired"]


async def test_foreign_target_is_not_kept_while_the_edge_is_suspended() -> None:
    async with settled() as (server, it):
        await it.put(builders.identity("rival", account="payments"))
        assert ready(server, "TargetReachable") == ("Unknown", "SharedIdentity")
        assert compiled(server).target is not None, "a compiled Secret may stay"
        broken = copy.deepcopy(server.objects[COMPILED])
        document = data(broken)["endpoint.json"].replace(b"payments.shop.svc", b"evil.east.svc")
        broken["data"]["endpoint.json"] = base64.b64encode(document).decode()
        await it.put(broken)
        assert compiled(server).target is None
        assert ready(server, "TargetReachable") == ("Unknown", "SharedIdentity")


async def test_changed_declaration_is_not_reported_as_a_repair() -> None:
    async with settled() as (server, it):
        await it.put(endpoint(limits={"body": "1Ki"}))
        assert compiled(server).limits.body == 1024
        assert server.reasons() == []


# Revocation


@pytest.mark.parametrize(
    "withdrawn",
    [
        lambda it: it.drop(*GIVEN),
        lambda it: it.put(keys() | {"data": {}}),
    ],
    ids=["deleted, or its label taken off", "emptied"],
)
async def test_revoked_key_no_longer_verifies(withdrawn: Any) -> None:
    async with settled(issued(), keys()) as (server, it):
        await withdrawn(it)
        assert tried(server) == {}
        assert compiled(server).target is None
        assert ready(server)[0] == "False"


@pytest.mark.parametrize("gone", ["endpoint", "gateway", "leave"])
async def test_compiled_secret_is_deleted_with_its_cause(gone: str) -> None:
    async with settled() as (server, it):
        match gone:
            case "endpoint":
                await it.drop(*WEBHOOK)
            case "gateway":
                await it.drop("ServiceIdentity", Ref("troth-gateway", "troth-gateway"))
            case _:
                await it.put(namespaces(webhooks="no")[-1])
        assert COMPILED not in server.objects


async def test_endpoint_deleted_while_the_operator_was_down_is_cleaned_up() -> None:
    server = shop()
    await converge(server)
    del server.objects[WEBHOOK]
    async with running(server) as it:
        it.engine.queue.add(it.engine.world.webhooks.everything())
        await it.settle()
    assert COMPILED not in server.objects


async def test_endpoint_moved_to_another_gateway_leaves_nothing_at_the_first() -> None:
    edge = gateway("edge", "edge")
    accepted = [builders.accept("edge", "webhooks", namespace="edge")]
    async with settled(edge) as (server, it):
        await it.put(target(accepts=accepted))
        await it.put(endpoint(gateway={"name": "edge", "namespace": "edge"}))
        await it.live(PROPAGATION)
        assert COMPILED not in server.objects
        assert ("Secret", Ref("edge", "shop.stripe-charges")) in server.objects
        assert ready(server) == ("True", "InPlace")


async def test_gateway_defers_deliveries_while_the_edge_is_not_live() -> None:
    async with settled() as (server, it):
        await it.put(target(accepts=[]))
        assert compiled(server).target is None
        assert "payments does not accept troth-gateway" in compiled(server).suspended
        assert tried(server), "a sender is still told from others"
        assert ready(server) == ("False", "NotAccepted")
        await it.put(target())
        await it.live(PROPAGATION)
        assert compiled(server).target is not None
        assert ready(server) == ("True", "InPlace")


async def test_unreadable_identity_changes_nothing_at_the_gateway() -> None:
    """Open edges stay open and no other opens until a user corrects it."""
    async with settled() as (server, it):
        before = server.objects[COMPILED]
        broken = copy.deepcopy(target())
        broken["spec"]["authentication"] = {}
        await it.put(broken)
        assert server.objects[COMPILED] == before
        spoilt = copy.deepcopy(gateway())
        spoilt["spec"]["authentication"] = {}
        await it.put(spoilt)
        assert server.objects[COMPILED] == before
        assert ready(server, "GatewayConfigured") == ("False", "GatewayInvalid")


async def test_foreign_secret_in_its_place_is_never_overwritten() -> None:
    foreign = builders.secret("shop.stripe-charges", "troth-gateway", mine=b"x")
    server = shop(foreign)
    stored = copy.deepcopy(server.objects[COMPILED])
    async with running(server, due=True) as it:
        await it.settle()
        assert server.objects[COMPILED] == stored
        assert ready(server, "GatewayConfigured") == ("False", "Conflict")
        await it.drop(*COMPILED)
        await it.live(PROPAGATION)
        assert ready(server) == ("True", "InPlace")


async def test_refused_write_is_reported_and_the_compiled_secret_stays() -> None:
    async with settled() as (server, it):
        before = copy.deepcopy(server.objects[COMPILED])
        server.refuses = lambda place: (
            ApiError(403, "Forbidden", "quota") if place == COMPILED else None
        )
        it.engine.observe(server.put(endpoint(limits={"body": "1Ki"})))
        while ready(server, "GatewayConfigured")[1] == "Configured":  # noqa: ASYNC110 - one worker
            await asyncio.sleep(0.01)
        assert ready(server, "GatewayConfigured") == ("False", "WriteRefused")
        assert server.objects[COMPILED] == before


@pytest.mark.parametrize("after", range(1, 16))
async def test_next_run_completes_after_a_crash_at_any_write(after: int) -> None:
    server = shop()
    server.crash_after = after
    crashed = False
    try:
        await converge(server)
    except Crashed:
        crashed = True
    made = copy.deepcopy(server.objects.get(MADE))
    server.crash_after = 0
    await converge(server)
    assert ready(server) == ("True", "InPlace")
    assert set(tried(server)) == {"k1"}
    assert tried(server)["k1"] == data(server.objects[MADE])["k1"]
    assert made is None or data(made) == data(server.objects[MADE]), "a good key is not made anew"
    server.log.clear()
    await converge(server, NOW + PROPAGATION)
    assert server.log == []
    assert crashed or after > WRITES


# Rotation


async def test_rotation_adds_a_key_and_drops_the_old_one_after_first_use() -> None:
    async with settled() as (server, it):
        first = data(server.objects[MADE])["k1"]
        generation = server.objects[WEBHOOK]["metadata"]["generation"]
        await it.clock.move_to(NOW + HOUR)
        await it.put(
            builders.rotation(
                "WebhookEndpoint", "stripe-charges", overlap="24h", requestedAt=stamp(NOW + HOUR)
            )
        )
        assert set(tried(server)) == {"k1", "k2"}
        assert tried(server)["k1"] == first
        states = {key["id"]: key["state"] for key in server.objects[WEBHOOK]["status"]["keys"]}
        assert states == {"k1": "Retiring", "k2": "Current"}
        rotation = server.objects[ROTATION]["status"]
        assert rotation["phase"] == "Overlapping"
        assert rotation["lastRotated"] == stamp(NOW + HOUR)
        assert rotation["blockers"] == [
            (
                "no delivery has been verified with k2 yet; give the sender what Secret "
                "shop/stripe-charges-webhook has under k2"
            )
        ]
        # however long the sender takes
        await it.clock.move_to(NOW + 100 * HOUR)
        await it.settle()
        assert set(tried(server)) == {"k1", "k2"}
        await it.put(report(k1=NOW + HOUR, k2=NOW + 99 * HOUR))
        assert set(tried(server)) == {"k2"}
        assert set(data(server.objects[MADE])) == {"k2"}
        status = server.objects[WEBHOOK]["status"]
        assert status["keys"][0]["lastVerified"] == stamp(NOW + 99 * HOUR)
        assert server.objects[ROTATION]["status"]["phase"] == "Idle"
        assert server.objects[WEBHOOK]["metadata"]["generation"] == generation


async def test_old_key_stays_for_the_overlap_even_if_the_new_one_is_in_use() -> None:
    async with settled() as (server, it):
        await it.clock.move_to(NOW + HOUR)
        await it.put(
            builders.rotation(
                "WebhookEndpoint", "stripe-charges", overlap="24h", requestedAt=stamp(NOW + HOUR)
            )
        )
        await it.put(report(k2=NOW + HOUR))
        assert set(tried(server)) == {"k1", "k2"}
        (until,) = (
            key["until"] for key in server.objects[WEBHOOK]["status"]["keys"] if "until" in key
        )
        assert until == stamp(NOW + 25 * HOUR)
        await it.clock.move_to(NOW + 26 * HOUR)
        await asyncio.sleep(0.05)
        await it.settle()
        assert set(tried(server)) == {"k2"}


async def test_use_before_the_key_was_made_does_not_count() -> None:
    """A report may refer to a key with the same ID in a Secret deleted since."""
    async with settled() as (server, it):
        await it.clock.move_to(NOW + HOUR)
        await it.put(report(k2=NOW))
        await it.put(
            builders.rotation("WebhookEndpoint", "stripe-charges", requestedAt=stamp(NOW + HOUR))
        )
        assert set(tried(server)) == {"k1", "k2"}


async def test_sender_issued_secret_is_not_rotated() -> None:
    rotation = builders.rotation("WebhookEndpoint", "stripe-charges", every="24h")
    async with settled(issued(), keys(), rotation) as (server, it):
        ready_ = server.condition(*ROTATION, "Ready")
        assert (ready_["status"], ready_["reason"]) == ("False", "ProviderIssued")
        assert "under a name of its own" in ready_["message"]
        await it.clock.move_to(NOW + 48 * HOUR)
        await it.settle()
        # the writes after two days are certificates and roots
        touched = {name for _, name in written(server)}
        assert not touched & {"stripe-signing", "shop.stripe-charges"}


async def test_scheme_change_replaces_the_unusable_key() -> None:
    async with settled(endpoint(scheme="GitHub")) as (server, it):
        await it.put(endpoint())
        assert set(tried(server)) == {"k2"}
        assert ready(server) == ("True", "InPlace")


@pytest.mark.parametrize(
    "scheme", ["StandardWebhooks", "GitHub", "GitLab", "Bitbucket", "HMAC", "GitLabToken"]
)
async def test_generated_key_fits_its_scheme(scheme: str) -> None:
    more: dict[str, Any] = {
        "HMAC": {"hmac": {"header": "X-Signature"}},
        "GitLabToken": {
            "acceptUnsigned": {
                "owner": "team",
                "reason": "old server",
                "expiresAt": stamp(NOW + 30 * builders.DAY),
            }
        },
    }.get(scheme, {})
    async with settled(endpoint(scheme=scheme, **more)) as (server, _):
        assert scheme in usable_for(data(server.objects[MADE])["k1"])
        assert ready(server) == ("True", "InPlace")


async def test_no_two_keys_are_equal() -> None:
    async with settled(endpoint("second")) as (server, _):
        other = data(server.objects["Secret", Ref("shop", "second-webhook")])
        assert data(server.objects[MADE])["k1"] != other["k1"]


async def test_no_key_is_in_metadata_a_status_or_an_event() -> None:
    async with settled(issued(), keys(main="hunter2-hunter2")) as (server, it):
        told = [each for (kind, _), each in server.objects.items() if kind != "Secret"]
        metadata = [
            each["metadata"] for (kind, _), each in server.objects.items() if kind == "Secret"
        ]
        shown = json.dumps([*told, *metadata, *server.events], default=str)
        assert "hunter2" not in shown
        assert base64.b64encode(b"hunter2-hunter2").decode() not in shown
        assert "hunter2" not in repr(it.engine.world.webhooks.given)
