"""The key of a gateway is replaced while deliveries come, and none is refused for it."""

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
from troth.planning.identity.webhook_signing import KEY_LIFETIME
from troth.resources.references import Ref
from troth.world.observation import objects as observe

LONG = timedelta(minutes=20)
"""Longer than a handover: propagation, then what the last token lives, then propagation."""


def held(it: WebhookScene) -> list[str]:
    return sorted(observe.decoded(it.server.objects[KEYS]))


async def test_a_key_is_replaced_when_it_is_old_and_no_delivery_is_refused() -> None:
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


async def test_every_target_knows_it_for_long_enough_before_it_signs() -> None:
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


async def test_the_old_one_is_known_until_its_last_token_has_ended_and_no_longer() -> None:
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


async def test_a_target_that_cannot_be_told_holds_it_up_and_is_named() -> None:
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


async def test_a_target_that_comes_meanwhile_is_waited_for_as_well() -> None:
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
async def test_an_operator_killed_at_any_time_goes_on_where_it_was(steps: int) -> None:
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


async def test_killed_after_every_write_in_turn_it_ends_and_no_delivery_is_refused() -> None:
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


async def test_a_next_key_that_somebody_spoils_is_made_anew() -> None:
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


async def test_where_the_last_endpoint_goes_so_do_the_keys() -> None:
    async with scene() as it:
        assert it.known_at(TARGETS[0]) == {it.signing}
        it.engine.forget("WebhookEndpoint", TARGETS[0], 10**9)
        del it.server.objects["WebhookEndpoint", TARGETS[0]]
        await it.settle()
        secret = it.server.objects[
            "Secret", Ref(TARGETS[0].namespace, f"{TARGETS[0].name}-identity")
        ]
        assert observe.WEBHOOK_KEYS not in observe.decoded(secret)
        written = it.server.writes
        await it.live(MINUTE)
        assert it.server.writes == written


async def test_nothing_is_written_while_nothing_is_due() -> None:
    async with scene() as it:
        await it.live(MINUTE)
        before = it.server.writes
        await it.live(10 * MINUTE)
        assert it.server.writes == before


async def test_the_rotation_that_asked_tells_how_far_it_is() -> None:
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
