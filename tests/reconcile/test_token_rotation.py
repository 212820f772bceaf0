"""Token key rotations during which no token is rejected."""

import copy
from datetime import timedelta

import pytest

from tests.builders import stamp
from tests.reconcile.rotating import PROPAGATION, STEP, namespaced
from tests.reconcile.token_rotating import ABROAD, ISSUER, KEY_LIFETIME, TOKENS, TokenScene, scene
from troth.cluster.errors import ApiError
from troth.resources.references import Ref
from troth.world.keys import domain_key
from troth.world.observation import objects as observe

MINUTE = timedelta(minutes=1)
WHOLE = ["Idle", "Distributing", "Retiring", "Idle"]
LONG = timedelta(minutes=30)
"""Longer than a rotation: propagation, the life of the last token, and propagation."""


def data(it: TokenScene) -> dict[str, bytes]:
    return observe.decoded(it.server.objects[TOKENS])


async def test_old_key_is_rotated_and_no_token_is_rejected() -> None:
    async with scene() as it:
        first = it.signing
        await it.live(KEY_LIFETIME - MINUTE)
        assert it.token_phases == ["Idle"]
        await it.live(LONG)
        assert it.token_phases == WHOLE
        assert it.signing != first
        assert len(it.status["tokenKeys"]) == 1
        assert it.phases == ["Idle"], "the root has no part in it"
        assert it.broken == []


async def test_key_is_published_long_enough_before_it_signs() -> None:
    async with scene() as it:
        await it.live(MINUTE)
        first = it.signing
        await it.ask()
        assert it.token_phase == "Distributing"
        (prepared,) = (
            each["fingerprint"] for each in it.status["tokenKeys"] if each["state"] == "Prepared"
        )
        assert all(len(it.keys_in(each)) == 2 for each in ("team0", "team1", ABROAD))
        await it.live(PROPAGATION - STEP)
        assert it.signing == first
        await it.live(2 * STEP)
        assert it.signing == prepared
        assert it.broken == []


async def test_old_key_is_published_until_its_last_token_expires() -> None:
    async with scene() as it:
        await it.live(MINUTE)
        (old,) = it.keys_in(ABROAD)
        await it.ask()
        await it.until_tokens("Retiring")
        assert "retiring.jwk" in data(it)
        assert b'"d"' not in data(it)["retiring.jwk"]
        await it.live(15 * MINUTE + MINUTE + PROPAGATION - 2 * STEP)
        assert old in it.keys_in(ABROAD)
        await it.live(3 * STEP)
        assert old not in it.keys_in(ABROAD)
        kept = ["bundle.json", "current.key", "current.made", "retired.json", "view.json.gz"]
        assert sorted(data(it)) == kept
        assert it.broken == []


async def test_rotation_of_the_domain_renews_both_root_and_token_key() -> None:
    async with scene() as it:
        await it.live(MINUTE)
        root, key = it.active, it.signing
        await it.ask()
        rotation = "CredentialRotation", Ref("troth-system", "asked")
        assert it.server.objects[rotation]["status"]["phase"] == "Prepared"
        await it.live(15 * MINUTE)
        assert it.server.objects[rotation]["status"]["phase"] != "Idle"
        await it.live(LONG)
        assert it.server.objects[rotation]["status"]["phase"] == "Idle"
        assert (it.phase, it.token_phase) == ("Idle", "Idle")
        assert it.active != root
        assert it.signing != key
        assert it.broken == [], "certificates, the issuer's among them, and tokens"


@pytest.mark.parametrize("phase", ["Distributing", "Retiring"])
async def test_operator_killed_in_any_phase_continues(phase: str) -> None:
    async with scene() as it:
        await it.live(MINUTE)
        await it.ask()
        await it.until_tokens(phase)
        await it.kill()
        await it.start()
        await it.live(LONG)
        assert it.token_phase == "Idle"
        assert len(it.status["tokenKeys"]) == 1
        assert it.broken == []


@pytest.mark.long
async def test_rotation_completes_without_rejections_after_a_crash_at_any_write() -> None:
    async def story(it: TokenScene) -> None:
        await it.live(MINUTE)
        await it.ask()
        await it.live(2 * LONG)

    async with scene() as it:
        await it.live(MINUTE)
        first = len(it.server.log) + 1
        await it.ask()
        await it.live(2 * LONG)
        writes = [
            number
            for number, place in enumerate(it.server.log, start=1)
            if number >= first and (place == TOKENS or place[0] in ("ConfigMap", "TrustDomain"))
        ]
    assert len(writes) > 10
    for number in writes:
        async with scene() as it:
            it.server.crash_after = number
            await story(it)
            told = f"killed after write {number}: {it.server.log[number - 1]}"
            assert it.crashes == 1, told
            assert it.token_phase == "Idle", told
            assert len(it.status["tokenKeys"]) == 1, told
            assert it.broken == [], told


async def test_unwritable_bundle_delays_the_rotation_and_is_named() -> None:
    """Also a bundle of a federated domain."""
    async with scene() as it:
        await it.live(MINUTE)
        first, place = it.signing, ("ConfigMap", Ref(ABROAD, "trust-bundle"))
        it.server.refuses = lambda at: ApiError(403, "Forbidden", "no") if at == place else None
        await it.ask()
        await it.live(LONG)
        assert it.token_phase == "Distributing"
        assert it.signing == first
        (blocker,) = it.token_blockers
        assert blocker.startswith(f"the bundle of namespace {ABROAD} does not have the next token")
        assert "RotationBlocked" in it.server.reasons()
        it.server.refuses = lambda _: None
        await it.look_again()
        it.engine.queue.add([domain_key("abroad")])
        await it.live(2 * LONG)
        assert it.token_phase == "Idle"
        assert it.signing != first
        assert it.broken == []


async def test_bundle_drift_is_restored_and_the_wait_restarts() -> None:
    async with scene() as it:
        await it.live(MINUTE)
        await it.ask()
        await it.live(PROPAGATION - 2 * STEP)
        place = ("ConfigMap", Ref("team1", "trust-bundle"))
        wanted = copy.deepcopy(it.server.objects[place]["data"])
        it.tamper(*place, lambda manifest: manifest["data"].update({"bundle-map.json": "{}"}))
        await it.settle()
        assert it.server.objects[place]["data"] == wanted
        await it.live(PROPAGATION - 2 * STEP)
        assert it.token_phase == "Distributing"
        await it.live(LONG)
        assert it.token_phase == "Idle"
        assert it.broken == []


async def test_namespace_may_join_during_a_rotation() -> None:
    async with scene() as it:
        await it.live(MINUTE)
        await it.ask()
        await it.user_puts(namespaced("team2"))
        assert len(it.keys_in("team2")) == 2
        await it.live(LONG)
        assert it.token_phase == "Idle"
        assert it.broken == []


# Compromised keys


async def test_compromised_key_is_dropped_at_once() -> None:
    async with scene() as it:
        await it.live(MINUTE)
        first, (kid,) = it.signing, it.keys_in(ABROAD)
        await it.ask(compromised=first)
        assert it.signing != first
        assert kid not in it.keys_in(ABROAD)
        assert kid not in it.keys_in("team0")
        assert [each["state"] for each in it.status["tokenKeys"]] == ["Active"]
        assert "TokenKeyReplaced" in it.server.reasons()


async def test_compromised_prepared_key_never_signs() -> None:
    async with scene() as it:
        await it.live(MINUTE)
        await it.ask()
        (prepared,) = (
            each["fingerprint"] for each in it.status["tokenKeys"] if each["state"] == "Prepared"
        )
        await it.ask(compromised=prepared)
        await it.live(LONG)
        assert prepared not in {each["fingerprint"] for each in it.status["tokenKeys"]}
        assert it.token_phase == "Idle"
        assert it.broken == []


async def test_compromised_retiring_key_is_not_awaited() -> None:
    async with scene() as it:
        await it.live(MINUTE)
        first, (kid,) = it.signing, it.keys_in(ABROAD)
        asked = stamp(it.clock.now())
        await it.ask(requestedAt=asked)
        await it.until_tokens("Retiring")
        assert kid in it.keys_in(ABROAD)
        await it.ask(requestedAt=asked, compromised=first)
        assert kid not in it.keys_in(ABROAD)
        assert it.token_phase == "Idle"


# Failures


async def test_incomplete_prepared_key_is_dropped_and_replaced() -> None:
    async with scene() as it:
        await it.live(MINUTE)
        await it.ask()
        first = it.signing
        it.tamper(*TOKENS, lambda manifest: manifest["data"].pop("next.made"))
        await it.live(LONG)
        assert it.token_phase == "Idle"
        assert it.signing != first
        assert it.broken == []


@pytest.mark.parametrize("phase", ["Distributing", "Retiring"])
async def test_secret_lost_during_a_rotation_is_recreated(phase: str) -> None:
    async with scene() as it:
        await it.live(MINUTE)
        await it.ask()
        await it.until_tokens(phase)
        gone = it.server.objects.pop(TOKENS)
        it.engine.forget(*TOKENS, int(gone["metadata"]["resourceVersion"]))
        await it.settle()
        assert it.condition("TokensReady") == ("True", "TokenKeyReplaced")
        assert len(it.keys_in(ABROAD)) == 1
        await it.live(LONG)
        assert it.condition("TokensReady") == ("True", "Active")


async def test_key_of_unknown_age_is_rotated() -> None:
    async with scene() as it:
        await it.live(MINUTE)
        first = it.signing
        it.tamper(*TOKENS, lambda manifest: manifest["data"].update({"current.made": "eA=="}))
        await it.live(LONG)
        assert it.signing != first
        assert it.token_phases == WHOLE
        assert it.broken == []


# Events and writes


async def test_every_step_is_reported_once() -> None:
    async with scene() as it:
        await it.live(MINUTE)
        await it.ask()
        await it.live(2 * LONG)
        told = [reason for reason in it.server.reasons() if reason.startswith("TokenKey")]
        assert told == ["TokenKeyPrepared", "TokenKeyActivated", "TokenKeyDropped"]


async def test_restart_writes_nothing() -> None:
    async with scene() as it:
        await it.live(MINUTE)
        writes = len(it.server.log)
        await it.kill()
        await it.start()
        await it.live(5 * MINUTE)
        assert it.server.log[writes:] == []


async def test_no_key_is_in_a_status_or_an_event() -> None:
    async with scene() as it:
        await it.live(MINUTE)
        await it.ask()
        keys = [value for name, value in data(it).items() if name.endswith(".key")]
        assert len(keys) == 2
        told = str(it.status) + str(it.server.events)
        for key in keys:
            for line in key.decode().splitlines()[1:-1]:
                assert line not in told


# The issuer during a root rotation


async def test_root_does_not_sign_before_the_issuer_trusts_it() -> None:
    """Otherwise the issuer would reject its callers' certificates."""
    async with scene() as it:
        await it.live(MINUTE)
        root = it.active
        it.server.refuses = lambda at: ApiError(403, "Forbidden", "no") if at == ISSUER else None
        await it.ask()
        await it.live(LONG)
        await it.look_again()
        assert it.active == root
        (blocker,) = it.blockers
        assert blocker.startswith("Secret troth-system/production-issuer does not have the new")
        assert it.condition("TokensReady") == ("False", "WriteRefused")
        it.server.refuses = lambda _: None
        await it.look_again()
        await it.live(2 * LONG)
        assert it.active != root
        assert it.broken == []


async def test_root_stays_while_the_issuer_presents_a_certificate_of_it() -> None:
    async with scene() as it:
        await it.live(MINUTE)
        await it.ask()
        it.server.refuses = lambda at: ApiError(403, "Forbidden", "no") if at == ISSUER else None
        await it.live(LONG)
        assert it.phase == "Reissuing"
        (blocker,) = it.blockers
        assert blocker.startswith("Secret troth-system/production-issuer has a certificate of")
        it.server.refuses = lambda _: None
        await it.look_again()
        await it.live(LONG)
        assert it.phase == "Idle"
        assert it.broken == []
