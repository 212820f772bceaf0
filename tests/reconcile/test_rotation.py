"""Root rotations during which every peer keeps verifying, whatever happens meanwhile."""

import copy
from datetime import timedelta

import pytest

from tests.builders import stamp
from tests.reconcile.rotating import (
    AUTHORITY,
    IDENTITIES,
    PROPAGATION,
    ROOT_LIFETIME,
    STEP,
    Manifest,
    identity,
    key_ids,
    namespaced,
    scene,
)
from troth.resources.references import Ref


async def test_root_is_rotated_at_two_thirds_of_its_life_without_rejections() -> None:
    async with scene() as it:
        first = it.active
        await it.live(ROOT_LIFETIME * 2 / 3 - timedelta(minutes=10))
        assert it.phases == ["Idle"]
        await it.live(timedelta(minutes=30))
        assert it.phases == ["Idle", "Distributing", "Reissuing", "Retiring", "Idle"]
        assert it.active != first
        assert len(it.status["authorities"]) == 1
        assert it.broken == []


async def test_old_root_verifies_nowhere_after_the_rotation() -> None:
    async with scene() as it:
        (old,) = {files.signer for _, files in it.files()}
        await it.live(ROOT_LIFETIME)
        assert all(old not in files.roots and files.signer != old for _, files in it.files())
        bundle = it.server.objects["ConfigMap", Ref("team0", "trust-bundle")]["data"]["ca.crt"]
        assert old not in key_ids(bundle)


@pytest.mark.parametrize("phase", ["Distributing", "Reissuing", "Retiring"])
async def test_operator_killed_in_any_phase_continues(phase: str) -> None:
    async with scene() as it:
        await it.until(phase)
        await it.kill()
        await it.start()
        await it.live(timedelta(minutes=30))
        assert it.phase == "Idle"
        assert it.broken == []


@pytest.mark.parametrize("phase", ["Distributing", "Reissuing", "Retiring"])
async def test_bundle_drift_is_restored_and_the_wait_restarts(phase: str) -> None:
    async with scene() as it:
        await it.until(phase)
        place = ("ConfigMap", Ref("team1", "trust-bundle"))
        wanted = copy.deepcopy(it.server.objects[place]["data"])
        it.tamper(*place, lambda manifest: manifest["data"].update({"ca.crt": "nothing"}))
        await it.live(STEP)
        assert it.server.objects[place]["data"] == wanted
        if phase == "Distributing":
            await it.live(PROPAGATION - 2 * STEP)
            assert it.phase == "Distributing"
        await it.live(timedelta(minutes=30))
        assert it.phase == "Idle"
        assert it.broken == []


@pytest.mark.parametrize("phase", ["Distributing", "Reissuing", "Retiring"])
async def test_namespace_and_identity_may_join_in_any_phase(phase: str) -> None:
    async with scene() as it:
        await it.until(phase)
        await it.user_puts(namespaced("team2"))
        await it.user_puts(identity(Ref("team2", "newcomer")))
        await it.live(timedelta(minutes=30))
        assert it.phase == "Idle"
        assert it.broken == []


@pytest.mark.parametrize("phase", ["Distributing", "Reissuing", "Retiring"])
async def test_namespace_may_leave_in_any_phase_and_is_not_awaited(phase: str) -> None:
    async with scene() as it:
        await it.until(phase)
        left = namespaced("team1")
        left["metadata"]["labels"] = {}
        await it.user_puts(left)
        await it.live(timedelta(minutes=30))
        assert it.phase == "Idle"
        assert [told for told in it.broken if "team1" not in told] == []


async def test_namespace_in_deletion_blocks_by_name_for_a_limited_time() -> None:
    async with scene() as it:
        await it.until("Distributing")
        going = namespaced("team1")
        going["metadata"]["deletionTimestamp"] = stamp(it.clock.now())
        await it.user_puts(going)
        await it.until("Reissuing")
        await it.live(PROPAGATION + timedelta(minutes=1))
        assert {blocker.split(" has a certificate")[0] for blocker in it.blockers} == {
            f"Secret {ref}-identity" for ref in IDENTITIES if ref.namespace == "team1"
        }
        assert all(" until 2" in blocker for blocker in it.blockers)
        await it.until("Idle", patience=timedelta(hours=7))
        assert [told for told in it.broken if "team1" not in told] == []


async def test_unreachable_bundle_blocks_by_name_and_rejects_no_peer() -> None:
    async with scene() as it:
        await it.live(timedelta(minutes=1))
        mute = Ref("team1", "trust-bundle")
        apply = it.server.apply

        async def deaf(manifest: Manifest) -> Manifest:
            if Ref.of(manifest) == mute:
                return copy.deepcopy(it.server.objects["ConfigMap", mute])
            return await apply(manifest)

        it.server.apply = deaf  # type: ignore[method-assign]  # the only failure
        await it.until("Distributing")
        await it.live(timedelta(hours=1))
        await it.look_again()  # a refused write is retried by a clock that does not advance here
        assert it.phase == "Distributing"
        (blocker,) = it.blockers
        assert blocker.startswith(
            "the bundle of namespace team1 does not have the new root yet; Troth waits until "
        )
        assert it.broken == []


async def test_certificate_that_cannot_be_reissued_is_named_until_it_expires() -> None:
    async with scene() as it:
        await it.until("Distributing")
        await it.live(timedelta(minutes=1))
        await it.user_puts(
            identity(Ref("team0", "twin")) | {"spec": identity(Ref("team0", "service0"))["spec"]}
        )  # the same ServiceAccount: neither is issued a certificate until one is corrected
        await it.until("Reissuing")
        await it.live(PROPAGATION + timedelta(minutes=1))
        assert [blocker.split(" has a certificate")[0] for blocker in it.blockers] == [
            "Secret team0/service0-identity"
        ]
        await it.until("Idle", patience=timedelta(hours=7))


@pytest.mark.parametrize("jump", [timedelta(hours=1), timedelta(hours=-1)])
@pytest.mark.parametrize("phase", ["Distributing", "Retiring"])
async def test_wall_clock_jump_shortens_no_wait(phase: str, jump: timedelta) -> None:
    async with scene() as it:
        await it.until(phase)
        await it.clock.jump_to(it.clock.now() + jump)
        await it.settle()
        assert it.phase == phase
        await it.live(PROPAGATION - 2 * STEP)
        assert it.phase == phase


async def test_reissuing_is_spread_over_time() -> None:
    async with scene() as it:
        await it.until("Reissuing")
        moments = 0
        old = {ref: files.signer for ref, files in it.files()}
        while it.phase == "Reissuing":
            await it.live(STEP)
            now = {ref: files.signer for ref, files in it.files()}
            moments, old = moments + (now != old), now
        assert moments >= 2


async def test_root_secret_deleted_during_a_rotation_is_not_recreated() -> None:
    async with scene() as it:
        await it.until("Distributing")
        gone = it.server.take_away("Secret", AUTHORITY)
        it.engine.forget("Secret", AUTHORITY, int(gone["metadata"]["resourceVersion"]))
        await it.live(timedelta(minutes=30))
        assert ("Secret", AUTHORITY) not in it.server.objects
        assert it.broken == []
        ready = next(each for each in it.status["conditions"] if each["type"] == "AuthorityReady")
        assert ready["reason"] == "AuthorityMissing"


async def test_secret_that_changed_meanwhile_is_not_written() -> None:
    """A user stores another root between the observation and the write."""
    async with scene() as it:
        await it.until("Distributing")
        unseen = copy.deepcopy(it.server.objects["Secret", AUTHORITY])
        unseen["data"].pop("next.crt")
        it.server.put(unseen)
        await it.live(timedelta(minutes=10))
        assert it.server.objects["Secret", AUTHORITY]["data"] == unseen["data"]
        assert it.broken == []
