"""Leaves with the shortest lifetime, five minutes, reject no peer.

Every leaf is renewed about every three minutes, so work that is late or too frequent shows.
"""

from collections import Counter
from datetime import timedelta

import pytest

from tests.builders import stamp
from tests.pki.builders import by_hand
from tests.reconcile.rotating import IDENTITIES, Manifest, Scene, begun, trust_domain
from tests.reconcile.test_rotation_requests import WHOLE, given, leaves, of_root
from troth.resources.references import Ref

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
LIFETIME = 5 * MINUTE
SOONEST, LATEST = LIFETIME * 3 / 5, LIFETIME * 2 / 3
"""Ages between which a leaf is renewed; the identity's UID decides the exact age."""


class ShortScene(Scene):
    """Scene with short steps and a short propagation delay."""

    step = timedelta(seconds=10)

    def __init__(self, *more: Manifest, propagation: timedelta = MINUTE, **spec: object) -> None:
        self.propagation = propagation
        bundle = {"propagation": f"{propagation.total_seconds():.0f}s"}
        super().__init__(
            trust_domain(certificates={"lifetime": "5m"}, bundle=bundle, **spec), *more
        )


async def test_every_leaf_is_renewed_in_time_and_not_more_often() -> None:
    async with begun(ShortScene()) as it:
        await it.live(MINUTE)
        before, written = leaves(it), len(it.server.log)
        await it.live(3 * HOUR)
        assert it.phases == ["Idle"]
        assert it.broken == []
        assert not before & leaves(it)
        writes = Counter(it.server.log[written:])
        for ref in IDENTITIES:
            renewals = writes.pop(("Secret", Ref(ref.namespace, f"{ref.name}-identity")))
            assert 3 * HOUR // (LATEST + it.step) <= renewals <= 3 * HOUR // SOONEST + 1
            assert writes.pop(("ServiceIdentity", ref)) == renewals, "its status tells of each"
        assert not writes


async def test_successive_roots_of_one_hour_reject_no_peer() -> None:
    async with begun(ShortScene(authority={"selfManaged": {"lifetime": "1h"}})) as it:
        await it.live(4 * HOUR)
        rotations = it.phases.count("Distributing")
        assert rotations == 4 * HOUR // (HOUR * 2 / 3)
        assert it.phases == ["Idle", *WHOLE[1:] * rotations]
        assert it.broken == []


async def test_repeatedly_killed_operator_renews_in_time_and_rotates_a_root() -> None:
    async with begun(ShortScene()) as it:
        await it.live(MINUTE)
        first = it.active
        await it.user_puts(of_root(requestedAt=stamp(it.clock.now() + 10 * MINUTE)))
        for _ in range(30):
            await it.live(3 * MINUTE / 2)
            await it.live_without(it.step)
        assert it.phases == WHOLE
        assert it.active != first
        assert it.broken == []


@pytest.mark.parametrize("phase", ["Idle", "Distributing", "Reissuing", "Retiring"])
async def test_operator_away_for_longer_than_a_leaf_lives_recovers(phase: str) -> None:
    async with begun(ShortScene()) as it:
        await it.live(MINUTE)
        first = it.active
        if phase != "Idle":
            await it.user_puts(of_root(requestedAt=stamp(it.clock.now())))
            await it.until(phase)
        assert it.broken == []
        await it.live_without(2 * LIFETIME)
        assert it.broken, "who is to renew?"
        await it.live(it.propagation)
        it.broken.clear()
        await it.live(30 * MINUTE)
        assert it.phase == "Idle"
        assert (it.active != first) == (phase != "Idle")
        assert it.broken == []


async def test_operator_away_for_longer_than_the_root_lives_makes_another() -> None:
    async with begun(ShortScene(authority={"selfManaged": {"lifetime": "1h"}})) as it:
        first = it.active
        await it.live_without(2 * HOUR)
        await it.live(3 * it.propagation)
        it.broken.clear()
        await it.live(20 * MINUTE)
        assert it.phase == "Idle"
        assert it.active != first
        assert it.broken == []


async def test_pods_may_lag_by_a_third_of_a_leaf_lifetime() -> None:
    async with begun(ShortScene(propagation=LIFETIME / 3)) as it:
        await it.live(HOUR)
        assert it.broken == []


async def test_leaves_of_a_new_ca_are_renewed_in_time() -> None:
    """Cut to the CA's start of validity, they seem younger than they are."""
    just_begun = given(by_hand("just begun", begins=timedelta(0)), None)
    authority = {"secretRef": {"name": "corporate"}}
    async with begun(ShortScene(just_begun, authority=authority)) as it:
        await it.live(HOUR)
        assert it.broken == []
