"""Restarts: one patch like kubectl's, only to the observed object, and reported."""

import asyncio
import copy
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

from tests import builders
from tests.builders import HOUR, NOW, Manifest, domain, identity, namespace, rotation
from tests.patience import PATIENCE
from tests.reconcile.serving import Running, Server, running
from tests.workloads import budget, rolled, workload
from troth.cluster.errors import ApiError
from troth.reconcile.loop.informers import selections
from troth.reconcile.rehearsal import Place
from troth.resources.references import Ref
from troth.world.facts.objects import RESTARTED_WITH
from troth.world.observation.objects import identity_secret

SHOP = [namespace("shop", domain="production"), domain()]
SID = Ref("shop", "payments")
PAYMENTS = "Deployment", SID
ROTATION = "CredentialRotation", Ref("shop", "payments-rotation")
SECRET = "Secret", Ref("shop", "payments-identity")
RESTARTING = identity(onRotation={"restart": [{"kind": "Deployment", "name": "payments"}]})


def server(*more: Manifest) -> Server:
    return Server([*SHOP, RESTARTING, workload(), *more])


def restarts(server: Server) -> int:
    """Return how often the Deployment's spec changed since it was created."""
    return int(server.objects[PAYMENTS]["metadata"]["generation"]) - 1


@asynccontextmanager
async def rolling(server: Server) -> AsyncIterator[Running]:
    async with running(server, due=True, rollouts=True) as it:
        await it.settle()
        yield it


async def later(it: Running, by: timedelta) -> None:
    await it.clock.move_to(it.clock.now() + by)
    await asyncio.sleep(0.05)  # another task queues keys that are due
    await it.settle()


async def renewed_and_due(it: Running) -> None:
    """Advance the clock past the renewal of the leaf and the workload's turn to restart."""
    await later(it, 17 * HOUR)
    await later(it, timedelta(minutes=6))


async def until(it: Running, holds: Callable[[], bool]) -> None:
    """Wait for a retry after its own delay."""
    async with asyncio.timeout(PATIENCE):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    await it.settle()


async def test_new_identity_with_a_workload_to_restart_costs_three_writes() -> None:
    apart = Server([*SHOP, workload()])
    async with rolling(apart) as it:
        apart.log.clear()
        await it.put(RESTARTING)
        assert sorted(kind for kind, _ in apart.log) == [
            "NetworkPolicy",
            "Secret",
            "ServiceIdentity",
        ]


async def test_restart_is_one_patch_of_the_pod_template_and_one_event() -> None:
    it_is = server()
    async with rolling(it_is) as it:
        before = copy.deepcopy(it_is.objects[PAYMENTS])
        it_is.events.clear()
        await renewed_and_due(it)
        it_is.log.clear()
        await later(it, HOUR)
    after = it_is.objects[PAYMENTS]
    facts = identity_secret(it_is.objects[SECRET])
    assert facts.leaf is not None
    leaf = facts.leaf.fingerprint[:16]
    annotations = after["spec"]["template"]["metadata"].pop("annotations")
    assert annotations["kubectl.kubernetes.io/restartedAt"] == builders.stamp(
        NOW + 17 * HOUR + timedelta(minutes=6)
    )
    assert annotations[RESTARTED_WITH].startswith(f"{leaf} ")
    assert after["spec"] == before["spec"]
    assert after["metadata"].get("annotations") == before["metadata"].get("annotations")
    assert [event["note"] for event in it_is.events if event["reason"] == "Restarted"] == [
        f"Deployment shop/payments is being restarted for the certificate {leaf}"
    ]
    assert it_is.log == [], "a rollout that goes on costs nothing"


async def test_status_reports_the_end_of_a_rollout() -> None:
    it_is = server()
    async with rolling(it_is) as it:
        await renewed_and_due(it)
        assert it_is.condition("ServiceIdentity", SID, "RolledOut")["reason"] == "RollingOut"
        await it.put(rolled(it_is.objects[PAYMENTS]))
        assert it_is.condition("ServiceIdentity", SID, "RolledOut")["reason"] == "InUse"
        assert restarts(it_is) == 1


async def test_workload_changed_meanwhile_is_restarted_in_its_current_state() -> None:
    it_is = server()
    async with rolling(it_is) as it:
        await later(it, 17 * HOUR)
        overtaken = copy.deepcopy(it_is.objects[PAYMENTS])
        overtaken["spec"]["replicas"] = 5
        changed = it_is.put(overtaken)  # the informer has not seen it yet
        await it.clock.move_to(it.clock.now() + timedelta(minutes=6))
        await asyncio.sleep(0.05)
        assert RESTARTED_WITH not in str(it_is.objects[PAYMENTS])
        assert it_is.condition("ServiceIdentity", SID, "RolledOut")["reason"] == "AwaitingTurn"
        it.engine.observe(changed)
        await until(it, lambda: RESTARTED_WITH in str(it_is.objects[PAYMENTS]))
        assert it_is.objects[PAYMENTS]["spec"]["replicas"] == 5


async def test_deleted_or_recreated_workload_is_not_restarted_by_mistake() -> None:
    it_is = server()
    async with rolling(it_is) as it:
        await later(it, 17 * HOUR)
        gone = it_is.objects.pop(PAYMENTS)
        await it.clock.move_to(it.clock.now() + timedelta(minutes=6))
        await asyncio.sleep(0.05)
        it_is.put({**gone, "metadata": {**gone["metadata"], "uid": "another"}})
        await asyncio.sleep(0.5)  # long enough for a retry
        assert RESTARTED_WITH not in str(it_is.objects[PAYMENTS])
        it.engine.forget(*PAYMENTS, int(gone["metadata"]["resourceVersion"]) + 1)
        await it.settle()
        told = it_is.condition("ServiceIdentity", SID, "RolledOut")
        assert told["reason"] == "WorkloadMissing"


async def test_forbidden_restart_is_reported_and_heals() -> None:
    it_is = server()

    def refuse(place: Place) -> ApiError | None:
        return ApiError(403, "Forbidden", "not allowed to patch") if place == PAYMENTS else None

    async with rolling(it_is) as it:
        it_is.refuses = refuse
        await renewed_and_due(it)
        told = it_is.condition("ServiceIdentity", SID, "RolledOut")
        assert (told["status"], told["reason"]) == ("False", "WriteRefused")
        assert "not allowed to patch" in told["message"]
        assert it_is.condition("ServiceIdentity", SID, "Ready")["status"] == "True"
        it_is.refuses = lambda _: None
        await until(it, lambda: restarts(it_is) == 1)
        assert it_is.condition("ServiceIdentity", SID, "RolledOut")["reason"] == "RollingOut"


def test_workloads_are_watched_only_if_rollouts_are_enabled() -> None:
    without = {selection.kind for selection in selections("troth-system")}
    with_rollouts = {selection.kind for selection in selections("troth-system", rollouts=True)}
    assert with_rollouts - without == {
        "Deployment",
        "StatefulSet",
        "DaemonSet",
        "PodDisruptionBudget",
    }
    assert without <= with_rollouts


async def test_rotation_overlaps_until_every_program_uses_the_new_certificate() -> None:
    it_is = server(budget(), rotation())
    async with rolling(it_is) as it:
        assert rotating(it_is) == {"phase": "Idle", "blockers": []}
        it_is.events.clear()
        await later(it, HOUR)
        await it.put(rotation(requestedAt=builders.stamp(it.clock.now())))
        assert rotating(it_is) == {"phase": "Overlapping", "blockers": []}
        await later(it, timedelta(minutes=6))
        (blocker,) = rotating(it_is)["blockers"]
        assert "PodDisruptionBudget shop/payments currently allows no disruption" in blocker
        await it.put(budget(allowed=1))
        assert rotating(it_is) == {"phase": "Overlapping", "blockers": []}
        await it.put(rolled(it_is.objects[PAYMENTS]))
        assert rotating(it_is) == {"phase": "Idle", "blockers": []}
    assert [event["reason"] for event in it_is.events if is_of_the_rotation(event)] == [
        "RotationOverlapping",
        "RotationBlocked",
        "RotationCompleted",
    ]


def rotating(server: Server) -> Manifest:
    """Return the phase and the blockers of the CredentialRotation of payments."""
    status = server.objects[ROTATION]["status"]
    return {"phase": status.get("phase", "Idle"), "blockers": status.get("blockers", [])}


def is_of_the_rotation(event: Manifest) -> bool:
    return bool(event["regarding"]["kind"] == ROTATION[0])
