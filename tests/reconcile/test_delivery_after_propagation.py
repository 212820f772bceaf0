"""The gateway delivers to a target only after its pods have surely read their configuration."""

import copy

import pytest

from tests.builders import Manifest
from tests.reconcile.rotating import PROPAGATION, STEP
from tests.reconcile.webhook_rotating import (
    KEYS,
    MINUTE,
    TARGETS,
    WebhookScene,
    endpoint,
    opening,
    scene,
    target,
)
from troth.cluster.errors import ApiError
from troth.resources.references import Ref

FIRST = TARGETS[0]
ENDPOINT = "WebhookEndpoint", FIRST


def moved(path: str) -> Manifest:
    """Return the first target's endpoint with another path."""
    there = copy.deepcopy(endpoint(FIRST))
    there["spec"]["inbound"]["target"]["path"] = path
    return there


def ready(it: WebhookScene) -> tuple[str, str]:
    found = it.server.condition(*ENDPOINT, "Ready")
    return found["status"], found["reason"]


async def test_first_deliveries_wait_until_every_target_is_configured() -> None:
    async with opening() as it:
        assert ready(it) == ("False", "TargetPending")
        await it.live(PROPAGATION - STEP)
        assert it.delivered() == set()
        await it.live(STEP)
        assert it.delivered() == set(TARGETS)
        assert ready(it) == ("True", "InPlace")
        assert it.broken == []


@pytest.mark.parametrize("after", range(1, 6))
async def test_operator_killed_meanwhile_shortens_no_wait(after: int) -> None:
    async with opening() as it:
        await it.live(after * STEP)
        await it.kill()
        await it.start()
        await it.live(PROPAGATION - STEP)
        assert it.delivered() == set()
        await it.live(STEP)
        assert it.delivered() == set(TARGETS)


async def test_operator_restart_does_not_interrupt_deliveries() -> None:
    async with scene() as it:
        await it.kill()
        writes = it.server.writes
        await it.start()
        await it.live(MINUTE)
        assert it.server.writes == writes
        assert it.delivered() == set(TARGETS)


async def test_restart_writes_nothing_for_an_endpoint_without_a_gateway() -> None:
    """The gateway's Secret records what the target read, and this endpoint has no key yet."""
    without_key = copy.deepcopy(endpoint(FIRST))
    without_key["metadata"]["name"] = "charges"
    without_key["spec"]["inbound"] |= {"scheme": "Stripe", "secretRef": {"name": "not-there"}}
    async with scene(without_key) as it:
        await it.live(2 * PROPAGATION)
        await it.kill()
        writes = it.server.writes
        await it.start()
        await it.live(2 * PROPAGATION)
        assert it.server.writes == writes


async def test_endpoint_with_a_new_path_waits_and_others_do_not() -> None:
    async with scene() as it:
        await it.user_puts(moved("/elsewhere"))
        for _ in range(PROPAGATION // STEP - 1):
            await it.live(STEP)
            assert it.delivered() == set(TARGETS[1:])
        await it.live(STEP)
        assert it.delivered() == set(TARGETS)
        assert it.broken == []


async def test_unwritable_target_gets_no_deliveries() -> None:
    async with scene() as it:
        deaf = "Secret", Ref(FIRST.namespace, f"{FIRST.name}-identity")
        it.server.refuses = lambda place: ApiError(403, "Forbidden", "") if place == deaf else None
        await it.user_puts(moved("/elsewhere"))
        await it.live(3 * PROPAGATION)
        assert it.delivered() == set(TARGETS[1:])
        it.server.refuses = lambda _: None
        await it.look_again(FIRST)
        await it.live(PROPAGATION)
        assert it.delivered() == set(TARGETS)
        assert it.broken == []


async def test_lost_signing_key_defers_deliveries_until_targets_have_the_next() -> None:
    async with scene() as it:
        await it.live(MINUTE)
        before = it.signing
        gone = it.server.take_away(*KEYS)
        it.engine.forget("Secret", KEYS[1], int(gone["metadata"]["resourceVersion"]))
        await it.settle()
        assert it.signing != before
        await it.live(PROPAGATION - STEP)
        assert it.delivered() == set()
        await it.live(STEP)
        assert it.delivered() == set(TARGETS)


async def test_consent_that_ends_and_returns_is_awaited() -> None:
    async with scene() as it:
        await it.user_puts(target(FIRST, accepts=[]))
        assert it.delivered() == set(TARGETS[1:])
        await it.user_puts(target(FIRST))
        await it.live(PROPAGATION - STEP)
        assert it.delivered() == set(TARGETS[1:])
        await it.live(STEP)
        assert it.delivered() == set(TARGETS)
        assert it.broken == []


@pytest.mark.long
async def test_crash_at_any_write_of_a_new_endpoint_rejects_nothing() -> None:
    async with opening() as it:
        await it.live(2 * PROPAGATION)
        end = len(it.server.log)
    for number in range(1, end + 1):
        it = WebhookScene()
        it.server.crash_after = number
        try:
            await it.start()
            await it.live(3 * PROPAGATION)
            assert it.crashes == 1
            assert it.delivered() == set(TARGETS), number
            assert it.broken == [], number
        finally:
            await it.kill()
