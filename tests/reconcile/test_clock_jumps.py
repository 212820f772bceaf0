"""The operator's clock jumps forward or back by up to an hour, at any moment.

The pods' clocks are right. They show whether a root was dropped early: while one of its
certificates is still valid by their clocks, or before a lagging pod has read another.
"""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from functools import cache

import pytest
from cryptography import x509
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from tests.builders import stamp
from tests.pki.builders import by_hand
from tests.reconcile.rotating import (
    IDENTITIES,
    START,
    STEP,
    SYSTEM,
    Files,
    Manifest,
    Scene,
    begun,
    common,
    identity,
    presented,
    roots_of,
    trust_domain,
)
from tests.reconcile.test_clock_skew import SECRET_OF_FIRST, twin_of
from tests.reconcile.test_rotation_requests import given as given_ca
from tests.reconcile.test_rotation_requests import of_root, refusal
from troth.documents.secret_keys import LEAF, ROOTS
from troth.resources.references import Ref
from troth.world.observation import objects as observe

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
NEWCOMER = Ref("team0", "newcomer")

few = settings(max_examples=12, phases=[Phase.explicit, Phase.generate])
"""An example covers an hour or two of a cluster's life, which is too long to shrink."""
jumps = (st.integers(-5, 5) | st.integers(-60, 60)).map(lambda minutes: minutes * MINUTE)


def lengths(most: timedelta) -> st.SearchStrategy[timedelta]:
    return st.integers(1, most // STEP).map(lambda steps: steps * STEP)


class JumpyScene(Scene):
    """Scene in which the operator's clock jumps and the pods' clocks are right."""

    def __init__(self, *more: Manifest) -> None:
        super().__init__(*more)
        self.beyond: list[str] = []

    async def jump(self, by: timedelta) -> None:
        """Set the operator's clock and reconcile everything."""
        await self.clock.jump_to(self.clock.now() + by)
        await self.look_again(*IDENTITIES)
        await self.look_again()

    async def mend(self) -> None:
        """Set the operator's clock to the right time."""
        await self.jump(self.time - self.clock.now())

    @property
    def time(self) -> datetime:
        """The right time."""
        return START + timedelta(seconds=self.clock.uptime())

    def _verify_all(self, presented: dict[Ref, Files], trusted: dict[Ref, Files]) -> None:
        """Verify only signatures, as long as neither certificate has expired.

        A certificate issued by a wrong clock may become valid later.
        """
        for (who, files), (other, theirs) in itertools.product(presented.items(), trusted.items()):
            last = min(files.presented.not_after, theirs.presented.not_after)
            if self.time < last and files.signer not in theirs.roots:
                self.broken.append(f"{other} does not trust {who} in phase {self.phase}")

    def _look(self) -> None:
        super()._look()
        for (kind, ref), manifest in self.server.objects.items():
            if kind == "Secret" and ref.namespace != SYSTEM:
                data = observe.decoded(manifest)
                if exceeds(data[LEAF], data[ROOTS]):
                    self.beyond.append(f"{ref} in phase {self.phase}")


@cache
def exceeds(chain: bytes, roots: bytes) -> bool:
    """Return whether a leaf's validity exceeds that of a certificate above it."""
    leaf, *between = x509.load_pem_x509_certificates(chain)
    signer, _ = presented(chain)
    above = [*map(common, zip(between)), roots_of(roots)[signer]]
    return any(
        leaf.not_valid_before_utc < each.not_before or leaf.not_valid_after_utc > each.not_after
        for each in above
    )


def hourly(**spec: object) -> Manifest:
    """Return a trust domain whose leaf lifetime equals the longest clock jump."""
    return trust_domain(certificates={"lifetime": "1h"}, **spec)


# No root is dropped early


@few
@example(timedelta(0), MINUTE, HOUR / 2, 2 * MINUTE)  # in Distributing
@example(timedelta(0), 7 * MINUTE, HOUR / 2, STEP)  # in Retiring
@example(HOUR, STEP, -HOUR, STEP)
@given(jumps, lengths(15 * MINUTE), jumps, lengths(15 * MINUTE))
def test_no_root_is_dropped_early(
    first: timedelta, before: timedelta, second: timedelta, after: timedelta
) -> None:
    async def story() -> None:
        async with begun(JumpyScene(hourly())) as it:
            await it.live(MINUTE)
            old = it.active
            await it.jump(first)
            await it.user_puts(of_root(requestedAt=stamp(it.time)))
            await it.live(before)
            await it.jump(second)
            await it.live(after)
            await it.mend()
            await it.until("Idle", patience=2 * HOUR)
            assert it.broken == []
            assert it.active != old

    asyncio.run(story())


async def out_of_reach(it: Scene) -> None:
    """Refuse writes to an identity's Secret."""
    it.server.refuses = lambda place: refusal() if place == ("Secret", SECRET_OF_FIRST) else None
    await it.user_puts(of_root(requestedAt=stamp(it.clock.now())))
    assert it.phase == "Distributing"


async def irreplaceable(it: Scene) -> None:
    """Prevent certificates from being issued to an identity."""
    await it.user_puts(of_root(requestedAt=stamp(it.clock.now())))
    await it.user_puts(twin_of(IDENTITIES[0]))
    await it.until("Reissuing")


@pytest.mark.parametrize("hold_up", [out_of_reach, irreplaceable])
@few
@example(STEP, HOUR, STEP, timedelta(0))
@example(STEP, HOUR, STEP, HOUR)
@given(lengths(50 * MINUTE), jumps, lengths(10 * MINUTE), jumps)
def test_rotation_waits_for_expiry_by_the_right_clock(
    hold_up: Callable[[Scene], Awaitable[None]],
    before: timedelta,
    first: timedelta,
    between: timedelta,
    second: timedelta,
) -> None:
    async def story() -> None:
        async with begun(JumpyScene(hourly())) as it:
            await it.live(MINUTE)
            old = it.active
            await hold_up(it)
            await it.live(before)
            await it.jump(first)
            await it.live(between)
            await it.jump(second)
            await it.live(10 * MINUTE)
            await it.mend()
            await it.until("Idle", patience=2 * HOUR)
            assert it.broken == []
            assert it.active != old

    asyncio.run(story())


async def test_root_not_yet_valid_by_a_clock_set_back_does_not_sign() -> None:
    """It could not sign, so no certificate would be issued until it is valid."""
    async with begun(JumpyScene()) as it:
        await it.live(2 * HOUR)
        old = it.active
        await it.user_puts(of_root(requestedAt=stamp(it.time)))
        await it.live(MINUTE)
        await it.jump(-HOUR)
        await it.live(10 * MINUTE)
        await it.look_again()
        assert it.phase == "Distributing"
        assert it.active == old
        await it.user_puts(identity(NEWCOMER))
        assert Ref(NEWCOMER.namespace, f"{NEWCOMER.name}-identity") in dict(it.files())
        await it.mend()
        await it.live(30 * MINUTE)
        assert it.phase == "Idle"
        assert it.active != old
        assert it.broken == []


# Nothing is issued beyond the authority


def own_root() -> list[Manifest]:
    return [hourly(authority={"selfManaged": {"lifetime": "2h"}})]


def intermediate_that_outlives_its_root() -> list[Manifest]:
    root = by_hand("short root", begins=-2 * HOUR, lifetime=50 * MINUTE)
    intermediate = by_hand("long intermediate", root, begins=-2 * MINUTE, lifetime=70 * MINUTE)
    declared = hourly(authority={"secretRef": {"name": "corporate"}})
    return [declared, given_ca(intermediate, root)]


@pytest.mark.parametrize("declared", [own_root, intermediate_that_outlives_its_root])
@few
@example([(-3 * MINUTE, STEP)])
@example([(HOUR - 20 * MINUTE, STEP), (HOUR, STEP)])
@given(st.lists(st.tuples(jumps, lengths(15 * MINUTE)), max_size=8))
def test_nothing_is_issued_beyond_the_authority(
    declared: Callable[[], list[Manifest]], moves: list[tuple[timedelta, timedelta]]
) -> None:
    async def story() -> None:
        async with begun(JumpyScene(*declared())) as it:
            for number, (jump, length) in enumerate(moves):
                await it.jump(jump)
                await it.user_puts(identity(Ref("team0", f"newcomer{number}")))
                await it.live(length)
            assert it.beyond == []

    asyncio.run(story())
