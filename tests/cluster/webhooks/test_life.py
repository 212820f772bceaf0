"""Life of a WebhookEndpoint on a real API server: the compiled Secrets of its gateway."""

import base64
from collections import Counter
from datetime import timedelta

import pytest

from tests import builders
from tests.builders import stamp
from tests.changed_manifests import changed
from tests.cluster.person import condition
from tests.cluster.stage import Stage
from tests.cluster.webhooks.shop import GATEWAY, KIND, Shop, as_served, data_of, opened
from tests.webhook_builders import ONE, TWO, endpoint, issued
from tests.webhook_scene import PROPAGATION
from troth.documents.gateway_report import LABEL, member
from troth.resources.references import Ref
from troth.world.observation.webhook_secrets import GIVEN_LABEL
from troth.world.watch_class import GIVEN


@pytest.fixture
async def shop(stage: Stage) -> Shop:
    shop = await opened(stage)
    await stage.run()
    await shop.ready()
    await stage.settled()
    stage.requests.clear()
    return shop


async def test_endpoint_with_a_given_secret_costs_one_read_and_two_writes_twice(
    shop: Shop,
) -> None:
    """Once before its target knows it, with one more write for the target, and once after.

    One more status says that the target's Secret does not list the endpoint yet, if the endpoint is
    planned again before that Secret is written: the two are written at the same time.
    """
    await shop.give(main=ONE)
    await shop.declare(endpoint("second"))  # so the network is already open
    shop.stage.requests.clear()
    await shop.declare(issued(), waits=False)
    await shop.hears_pending(shop.charges)
    assert shop.stage.requests.reads == Counter({"secrets": 1})
    made = shop.stage.requests.writes
    assert made - Counter({"webhookendpoints": 1}) in (
        Counter({"secrets": 2}),
        Counter({"secrets": 2, "webhookendpoints": 1}),
    )
    assert (await shop.has("main")).endpoint.target is None
    shop.stage.requests.clear()
    await shop.known(shop.charges)
    assert shop.stage.requests.reads == Counter({"secrets": 1})
    assert shop.stage.requests.writes == Counter({"secrets": 1, "webhookendpoints": 1})
    found = await shop.has("main")
    assert found.endpoint.path == f"/{shop.stage.shop}/stripe-charges"
    assert found.endpoint.target is not None
    assert found.endpoint.target.host == f"payments.{shop.stage.shop}.svc"
    shop.stage.requests.clear()
    await shop.stage.look_again()
    assert shop.stage.requests.made == []


async def test_second_key_is_added_at_once_and_the_first_revoked(shop: Shop) -> None:
    await shop.give(old=ONE)
    await shop.declare(issued())
    await shop.has("old")
    await shop.give(old=ONE, new=TWO)
    await shop.has("old", "new")
    await shop.give(new=TWO)
    await shop.has("new")
    await shop.person.sees(
        KIND,
        shop.charges,
        lambda seen: [key["id"] for key in seen["status"]["keys"]] == ["new"],
    )


async def test_secret_that_loses_its_label_is_no_longer_read(shop: Shop) -> None:
    await shop.give(main=ONE)
    await shop.declare(issued())
    labels = {"metadata": {"labels": {GIVEN_LABEL: None}}}
    await shop.person.edit("Secret", shop.given, labels)
    message = await shop.person.hears(KIND, shop.charges, "Ready", "SecretMissing", "False")
    assert "create it, or label the existing one" in message
    found = await shop.has()
    assert found.endpoint.target is None
    world = shop.stage.operator.operator.engine.world
    assert not world.knows(GIVEN, shop.given), "nothing of it is kept"
    await shop.person.edit("Secret", shop.given, {"metadata": {"labels": {GIVEN_LABEL: "yes"}}})
    await shop.person.ready(KIND, shop.charges)
    assert (await shop.has("main")).endpoint.target is not None


async def test_secret_without_the_label_is_never_read(shop: Shop) -> None:
    """Otherwise any user who may write an endpoint could use any Secret of the namespace."""
    secret = builders.secret("stripe-signing", shop.stage.shop, main=ONE.encode())
    await shop.person.put(secret)
    await shop.declare(issued(), waits=False)
    await shop.person.hears(KIND, shop.charges, "Ready", "SecretMissing", "False")
    await shop.stage.settled()
    assert shop.stage.requests.reads == Counter()
    assert await shop.person.get("Secret", shop.compiled_ref) is None


async def test_manual_edit_is_restored_and_reported_once(shop: Shop) -> None:
    await shop.declare(endpoint())
    before = await shop.person.the("Secret", shop.compiled_ref)
    shop.stage.requests.clear()
    mine = base64.b64encode(b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").decode()
    await shop.person.edit("Secret", shop.compiled_ref, {"data": {"key.mine": mine}})
    await shop.person.sees(
        "Secret",
        shop.compiled_ref,
        lambda each: (
            each["data"] == before["data"]
            and each["metadata"]["resourceVersion"] != before["metadata"]["resourceVersion"]
        ),
    )
    await shop.stage.settled()
    assert shop.stage.requests.writes == Counter({"secrets": 1})
    assert ("Repaired", "stripe-charges") in await shop.person.events(shop.stage.shop)
    assert shop.stage.requests.events == 1


async def test_foreign_secret_in_its_place_is_not_changed(shop: Shop) -> None:
    foreign = builders.secret(shop.compiled_ref.name, shop.gates, mine=b"x")
    await shop.person.put(foreign)
    await shop.declare(endpoint(), waits=False)
    message = await shop.person.hears(KIND, shop.charges, "GatewayConfigured", "Conflict", "False")
    assert "is not managed by Troth, so it was not changed" in message
    found = await shop.person.the("Secret", shop.compiled_ref)
    assert data_of(found) == {"mine": b"x"}
    await shop.person.delete("Secret", shop.compiled_ref)
    await shop.known(shop.charges)


async def test_compiled_secret_is_deleted_with_the_endpoint(shop: Shop) -> None:
    await shop.declare(endpoint())
    await shop.person.delete(KIND, shop.charges)
    await shop.person.misses("Secret", shop.compiled_ref)


async def test_compiled_secret_of_an_endpoint_deleted_meanwhile_is_deleted(shop: Shop) -> None:
    await shop.declare(endpoint())
    await shop.stage.operator.stop()
    await shop.person.delete(KIND, shop.charges)
    assert await shop.person.get("Secret", shop.compiled_ref) is not None
    await shop.stage.run()
    await shop.person.misses("Secret", shop.compiled_ref)


async def test_generated_secret_is_rotated_with_both_keys_valid_until_use(
    shop: Shop,
) -> None:
    await shop.declare(endpoint())
    first = as_served(await shop.person.the("Secret", shop.compiled_ref))["k1"]
    generation = (await shop.person.the(KIND, shop.charges))["metadata"]["generation"]
    await shop.stage.later(timedelta(minutes=1))
    now = shop.stage.clock.now()
    await shop.person.put(
        builders.rotation(KIND, "stripe-charges", shop.stage.shop, requestedAt=stamp(now))
    )
    await shop.has("k1", "k2")
    assert as_served(await shop.person.the("Secret", shop.compiled_ref))["k1"] == first
    told = await shop.person.sees(
        "CredentialRotation",
        Ref(shop.stage.shop, "stripe-charges-rotation"),
        lambda each: any(
            "no delivery has been verified with k2 yet" in blocker
            for blocker in (each.get("status") or {}).get("blockers") or ()
        ),
    )
    assert told["status"]["phase"] == "Overlapping"
    # as a gateway reports it
    await shop.person.put(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": f"{GATEWAY}-webhook-keys",
                "namespace": shop.gates,
                "labels": {LABEL: GATEWAY},
            },
            "data": {
                f"{shop.stage.shop}.stripe-charges": member({"k2": now + timedelta(seconds=5)})
            },
        }
    )
    await shop.has("k2")
    after = await shop.person.sees(
        KIND, shop.charges, lambda each: len(each["status"]["keys"]) == 1
    )
    assert after["status"]["keys"][0]["id"] == "k2"
    assert after["metadata"]["generation"] == generation, "nobody has edited what it does"


async def test_endpoints_of_one_name_in_two_namespaces_are_separate(shop: Shop) -> None:
    """One namespace cannot take over another's endpoint: the Secret's name and path have both."""
    other = await shop.stage.namespace()
    await shop.declare(endpoint())
    twin = changed(shop.through_here(endpoint()), "metadata.namespace", other)
    await shop.person.put(twin)
    there = Ref(other, "stripe-charges")
    await shop.person.hears(KIND, there, "TargetReachable", "TargetMissing", "False")
    await shop.person.delete(KIND, there)
    await shop.person.misses("Secret", Ref(shop.gates, f"{other}.stripe-charges"))
    assert await shop.person.get("Secret", shop.compiled_ref) is not None
    assert condition(await shop.person.the(KIND, shop.charges), "Ready")["status"] == "True"


async def test_restarted_operator_does_not_shorten_the_propagation_delay(shop: Shop) -> None:
    await shop.declare(endpoint(), waits=False)
    await shop.hears_pending(shop.charges)
    await shop.stage.operator.stop()
    await shop.stage.later(PROPAGATION - timedelta(seconds=1))
    await shop.stage.run()
    await shop.stage.later(PROPAGATION - timedelta(seconds=1))
    await shop.stage.settled()
    assert (await shop.has("k1")).endpoint.target is None
    await shop.stage.later(timedelta(seconds=1))
    await shop.person.ready(KIND, shop.charges)
    assert (await shop.has("k1")).endpoint.target is not None


async def test_restarted_operator_changes_nothing(shop: Shop) -> None:
    await shop.give(main=ONE)
    await shop.declare(issued())
    await shop.declare(endpoint("second"))
    await shop.stage.operator.stop()
    await shop.stage.run()
    await shop.stage.settled()
    assert shop.stage.requests.writes == Counter()
    assert shop.stage.requests.events == 0
