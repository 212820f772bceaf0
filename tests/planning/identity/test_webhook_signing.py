"""The key with which a gateway signs the deliveries that it forwards."""

import copy
from datetime import timedelta

from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tests import builders
from tests.builders import DAY, NOW, Cluster, Manifest, authority_secret, key_of
from tests.webhook_scene import GATEWAY, PROPAGATION, gateway, scene
from troth.planning.steps.authorities import DropSlots
from troth.planning.steps.objects import Remove
from troth.planning.steps.signing_keys import ActivateTokenKey, CreateTokenKey, PrepareTokenKey
from troth.planning.steps.step import Step
from troth.reconcile.apply.keys.key_material import next_token_key
from troth.resources.references import Ref
from troth.world.keys import Key, Keys
from troth.world.observation.objects import decoded
from troth.world.observation.signing_keys import GATEWAYS
from troth.world.outcomes.writes import ForeignFound

KEY = key_of(GATEWAY, GATEWAY)
REF = Ref(GATEWAY, f"{GATEWAY}-webhook-signing")
SECRET = "Secret", REF
OF_KEYS = (CreateTokenKey, PrepareTokenKey, ActivateTokenKey, DropSlots, Remove)


def cluster(*instead: Manifest) -> Cluster:
    return Cluster.of(*scene(authority_secret(), *instead)).settle()


def steps(there: Cluster) -> list[Step]:
    return [each for each in there.plan(KEY).steps if isinstance(each, OF_KEYS)]


def with_data(there: Cluster, **data: str) -> Cluster:
    changed = copy.deepcopy(there.objects[SECRET])
    changed["data"] |= data
    there.put(changed)
    return there


def prepared(there: Cluster) -> Cluster:
    """Add the next key beside the active one, as the step requires."""
    (step,) = steps(there)
    assert isinstance(step, PrepareTokenKey)
    return with_data(there, **next_token_key(step, there.now))


def test_gateway_has_its_own_key_in_a_secret_of_its_own() -> None:
    there = cluster()
    secret = there.objects[SECRET]
    assert secret["type"] == "troth.dev/webhook-signing"
    assert secret["metadata"]["labels"]["troth.dev/webhook-gateway"] == GATEWAY
    assert secret["metadata"]["ownerReferences"][0]["name"] == GATEWAY
    data = decoded(secret)
    assert sorted(data) == ["key.made", "key.pem"]
    assert load_pem_private_key(data["key.pem"], None)
    assert there.condition(KEY, "WebhooksSigned")["reason"] == "Active"


def test_identity_without_webhooks_has_no_signing_key() -> None:
    ordinary = gateway()
    del ordinary["spec"]["servesWebhooks"]
    there = cluster(ordinary)
    assert SECRET not in there.objects
    there.put(gateway())
    assert SECRET in there.settle().objects
    there.put(ordinary)
    assert SECRET not in there.settle().objects


def test_gateway_reconciles_until_its_key_exists() -> None:
    there = Cluster.of(*scene(authority_secret()))
    (step,) = steps(there)
    assert isinstance(step, CreateTokenKey)
    condition = there.condition(KEY, "WebhooksSigned")
    assert (condition["status"], condition["reason"]) == ("False", "CreatingSigningKey")
    assert there.condition(KEY, "Reconciling")["status"] == "True"


def test_world_holds_public_keys_only() -> None:
    there = cluster()
    known = there.world.signing.of(KEY.ref)
    assert known is not None
    assert known.active is not None
    private = decoded(there.objects[SECRET])["key.pem"].decode()
    assert not any(line in repr(there.world) for line in private.splitlines()[1:-1])
    assert "d" not in known.active.jwk
    assert REF not in there.world.secrets, "it is no identity's Secret"


def test_foreign_secret_of_that_name_is_left_alone() -> None:
    there = Cluster.of(*scene(authority_secret()))
    there.world.observe_outcome(ForeignFound("Secret", REF, NOW))
    assert steps(there) == []
    assert there.condition(KEY, "WebhooksSigned")["reason"] == "Conflict"


def test_unreadable_key_is_reported_and_not_replaced() -> None:
    there = with_data(cluster(), **{GATEWAYS.active: "bm8="})
    assert steps(there) == []
    condition = there.condition(KEY, "WebhooksSigned")
    assert (condition["status"], condition["reason"]) == ("False", "TokenKeyUnreadable")
    assert "delete Secret" in condition["message"]


def test_lost_key_is_made_again() -> None:
    there = cluster()
    before = decoded(there.objects[SECRET])["key.pem"]
    assert KEY in there.drop(*SECRET)
    there.settle()
    assert decoded(there.objects[SECRET])["key.pem"] != before


def test_key_is_rotated_after_thirty_days() -> None:
    there = cluster()
    there.now = NOW + 30 * DAY - timedelta(seconds=1)
    assert steps(there) == []
    assert there.plan(KEY).due is not None
    there.now = NOW + 30 * DAY
    assert [type(each) for each in steps(there)] == [PrepareTokenKey]


def test_key_is_rotated_on_request() -> None:
    there = cluster()
    there.now = NOW + DAY
    asked = builders.rotation(target=GATEWAY, namespace=GATEWAY, requestedAt=builders.stamp(NOW))
    there.put(asked)
    assert steps(there) == [], "it was made then"
    asked["spec"]["requestedAt"] = builders.stamp(NOW + DAY)
    there.put(asked)
    assert [type(each) for each in steps(there)] == [PrepareTokenKey]


def test_next_key_signs_only_after_the_target_has_known_it_long_enough() -> None:
    there = cluster()
    there.now = NOW + 30 * DAY
    prepared(there)
    there.uptime = 1000.0
    assert steps(there) == [], "the target does not know it"
    waits = there.condition(KEY, "WebhooksSigned")["message"]
    assert "does not have the gateway's next key" in waits
    assert KEY in _visited(there, key_of())
    assert steps(there) == []
    there.uptime += PROPAGATION.total_seconds() - 1.0
    assert steps(there) == []
    there.uptime += 1.0
    (step,) = steps(there)
    assert isinstance(step, ActivateTokenKey)
    assert step.slots == GATEWAYS
    assert step.retiring is not None
    assert "d" not in step.retiring


def _visited(there: Cluster, key: Key) -> Keys:
    affected: Keys = set()
    for step in there.plan(key).steps:
        affected |= there.carry_out(step)
    return affected


def test_deleted_target_is_not_waited_for() -> None:
    there = cluster()
    there.now = NOW + 30 * DAY
    prepared(there)
    there.uptime = 1000.0
    there.put(builders.identity("payments", "shop"))
    assert [type(each) for each in steps(there)] == [ActivateTokenKey]


def test_incomplete_next_key_is_dropped() -> None:
    there = with_data(cluster(), **{GATEWAYS.prepared: "bm8="})
    (step,) = steps(there)
    assert isinstance(step, DropSlots)
    assert step.slots == (GATEWAYS.prepared,)


def test_change_of_keys_invalidates_the_targets() -> None:
    there = cluster()
    there.now = NOW + 30 * DAY
    (step,) = steps(there)
    assert isinstance(step, PrepareTokenKey)
    changed = copy.deepcopy(there.objects[SECRET])
    assert not {key_of()} & there.put(changed), "as it was"
    changed["data"] |= next_token_key(step, there.now)
    assert {key_of(), KEY} <= there.put(changed)
