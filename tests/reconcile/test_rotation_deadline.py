"""A rotation waits for every bundle, but not beyond the old root's deadline."""

from datetime import timedelta

from tests.reconcile.rotating import ROOT_LIFETIME, scene
from troth.cluster.errors import ApiError
from troth.resources.references import Ref

BUNDLE = "ConfigMap", Ref("team1", "trust-bundle")
LEAF_LIFETIME = timedelta(hours=6)


async def test_unwritable_bundle_delays_a_root_only_until_leaves_would_be_cut() -> None:
    async with scene() as it:
        gone = it.server.objects.pop(BUNDLE)
        it.server.refuses = lambda place: (
            ApiError(403, "Forbidden", "not here") if place == BUNDLE else None
        )
        it.engine.forget(*BUNDLE, int(gone["metadata"]["resourceVersion"]))
        await it.settle()
        first = it.active
        await it.live(ROOT_LIFETIME - LEAF_LIFETIME - timedelta(minutes=10))
        assert it.phase == "Distributing"
        assert it.active == first
        (blocker,) = it.blockers
        assert blocker.startswith("the bundle of namespace team1 does not have the new root yet")
        await it.live(timedelta(minutes=20))
        await it.look_again()
        assert it.active != first
        await it.live(timedelta(minutes=30))
        await it.look_again()
        assert it.phase == "Idle"
