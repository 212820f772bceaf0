"""Gateway key rotations during which no delivery is rejected."""

import copy
from datetime import timedelta

import pytest

from tests.reconcile.rotating import PROPAGATION, STEP
from tests.reconcile.webhook_rotating import (
    KEYS,
    MINUTE,
    TARGETS,
    WebhookScene,
    scene,
    target,
)
from troth.cluster.errors import ApiError
from troth.documents.secret_keys import WEBHOOK_KEYS
from troth.planning.identity.credentials.webhook_signing import KEY_LIFETIME
from troth.resources.references import Ref
from troth.world.observation import objects as observe

LONG = timedelta(minutes=20)
"""Longer than a rotation: propagation, the life of the last token, and propagation."""


def held(it: WebhookScene) -> list[str]:
    return sorted(observe.decoded(it.server.objects[KEYS]))


async def test_old_key_is_rotated_and_no_delivery_is_rejected() -> None:
    async with scene() as it:
        first = it.signing
        await it.clock.move_to(it.clock.now() + KEY_LIFETIME - PROPAGATION - 2 * MINUTE)
        await it.settle()
        await it.live(MINUTE)
        assert (it.signing, held(it)) == (first, ["key.made", "key.pem"])
        await it.live(LONG)
        assert it.signing != first
        assert held(it) == ["key.made", "key.pem"]
        assert all(it.known_at(ref) == {it.signing} for ref in TARGETS)
        assert it.broken == []


async def test_every_target_knows_a_key_long_enough_before_it_signs() -> None:
    async with scene() as it:
        await it.live(MINUTE)
        first = it.signing
        await it.ask()
        assert it.keys.prepared is not None
        coming = it.keys.prepared.kid
        assert all(it.known_at(ref) == {first, coming} for ref in TARGETS)
        await it.live(PROPAGATION - STEP)
        assert it.signing == first
        await it.live(2 * STEP)
        assert it.signing == coming
        assert it.broken == []


async def test_old_key_is_known_until_its_last_token_expires() -> None:
    async with scene() as it:
        await it.live(MINUTE)
        old = it.signing
        await it.ask()
        while it.signing == old:
            await it.live(STEP)
        assert "retiring.jwk" in held(it)
        assert b'"d"' not in observe.decoded(it.server.objects[KEYS])["retiring.jwk"]
        await it.live(2 * MINUTE + PROPAGATION - 2 * STEP)
        assert all(old in it.known_at(ref) for ref in TARGETS)
        await it.live(3 * STEP)
        assert not any(old in it.known_at(ref) for ref in TARGETS)
        assert it.broken == []


async def test_unwritable_target_delays_the_rotation_and_is_named() -> None:
    async with scene() as it:
        await it.live(MINUTE)
        first, deaf = it.signing, Ref(TARGETS[0].namespace, f"{TARGETS[0].name}-identity")
        it.server.refuses = lambda place: (
            ApiError(403, "Forbidden", "no") if place == ("Secret", deaf) else None
        )
        await it.ask()
        await it.live(LONG)
        assert it.signing == first
        reason, message = it.waits()
        assert reason == "RotationWaits"
        assert str(deaf) in message
        it.server.refuses = lambda _: None
        await it.look_again(TARGETS[0])
        await it.live(LONG)
        assert it.signing != first
        assert it.waits()[0] == "Active"
        assert it.broken == []


async def test_target_added_during_a_rotation_is_awaited() -> None:
    late = target(TARGETS[0], accepts=[])
    async with scene() as it:
        await it.user_puts(late)
        await it.live(MINUTE)
        first = it.signing
        await it.ask()
        await it.live(PROPAGATION - STEP)
        await it.user_puts(target(TARGETS[0]))
        await it.live(2 * STEP)
        assert it.signing == first
        await it.live(PROPAGATION)
        assert it.signing != first


@pytest.mark.parametrize("steps", [1, 4, 8, 12])
async def test_operator_killed_at_any_time_continues(steps: int) -> None:
    async with scene() as it:
        await it.live(MINUTE)
        first = it.signing
        await it.ask()
        await it.live(steps * STEP)
        await it.kill()
        await it.start()
        await it.live(LONG)
        assert it.signing != first
        assert held(it) == ["key.made", "key.pem"]
        assert it.broken == []


@pytest.mark.long
async def test_rotation_completes_without_rejections_after_a_crash_at_any_write() -> None:
    async def story(it: WebhookScene) -> None:
        await it.live(MINUTE)
        await it.ask()
        await it.live(2 * LONG)

    async with scene() as it:
        await it.live(MINUTE)
        begun = len(it.server.log)
        await it.ask()
        await it.live(LONG)
        end = len(it.server.log)
    for number in range(begun + 1, end + 1):
        async with scene() as it:
            it.server.crash_after = number
            await story(it)
            assert it.crashes == 1
            assert held(it) == ["key.made", "key.pem"], number
            assert it.broken == [], number


async def test_corrupted_next_key_is_replaced() -> None:
    async with scene() as it:
        await it.live(MINUTE)
        first = it.signing
        await it.ask()

        def spoil(secret: dict[str, dict[str, str]]) -> None:
            secret["data"]["next.pem"] = "bm8="

        it.tamper(*KEYS, copy.deepcopy(spoil))
        await it.settle()
        await it.live(LONG)
        assert it.signing != first
        assert it.broken == []


async def test_keys_are_removed_with_the_last_endpoint() -> None:
    async with scene() as it:
        assert it.known_at(TARGETS[0]) == {it.signing}
        it.engine.forget("WebhookEndpoint", TARGETS[0], 10**9)
        del it.server.objects["WebhookEndpoint", TARGETS[0]]
        await it.settle()
        secret = it.server.objects[
            "Secret", Ref(TARGETS[0].namespace, f"{TARGETS[0].name}-identity")
        ]
        assert WEBHOOK_KEYS not in observe.decoded(secret)
        written = it.server.writes
        await it.live(MINUTE)
        assert it.server.writes == written


async def test_nothing_is_written_while_nothing_is_due() -> None:
    async with scene() as it:
        await it.live(MINUTE)
        before = it.server.writes
        await it.live(10 * MINUTE)
        assert it.server.writes == before


async def test_credential_rotation_reports_its_phases() -> None:
    async with scene() as it:
        await it.live(MINUTE)
        await it.ask()
        (place,) = (place for place in it.server.objects if place[0] == "CredentialRotation")
        phases: list[str] = []
        for _ in range(LONG // STEP):
            phase = it.server.objects[place]["status"]["phase"]
            if phase not in phases[-1:]:
                phases.append(phase)
            await it.live(STEP)
        assert phases == ["Prepared", "Retiring", "Idle"]
        assert it.broken == []
