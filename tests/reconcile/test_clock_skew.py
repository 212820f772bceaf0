"""Clocks of workloads and users that differ from the operator's by up to five minutes.

The verifier's clock judges each handshake. A third of the pods are behind the operator, a third
ahead.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from tests.builders import rotation, stamp
from tests.pki.builders import by_hand
from tests.reconcile.rotating import (
    IDENTITIES,
    PROPAGATION,
    STEP,
    Manifest,
    Scene,
    begun,
    identity,
    scene,
    trust_domain,
)
from tests.reconcile.test_rotation_requests import WHOLE, given, leaves, of_root, with_a_given_ca
from troth.resources.references import Ref

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
SKEW = 5 * MINUTE
CLOCKS = {ref: (number // 2 - 1) * SKEW for number, ref in enumerate(IDENTITIES)}
"""Offset of each identity's pods; each namespace has one that is behind."""
SECRET_OF_FIRST = Ref(IDENTITIES[0].namespace, f"{IDENTITIES[0].name}-identity")


class SkewedScene(Scene):
    """Scene in which every pod has its own clock."""

    def time_of(self, pod: Ref) -> datetime:
        ref = Ref(pod.namespace, pod.name.removesuffix("-identity"))
        return self.clock.now() + CLOCKS[ref]


def skewed(*more: Manifest, lifetime: timedelta = 6 * HOUR) -> SkewedScene:
    declared = trust_domain(certificates={"lifetime": f"{lifetime // MINUTE}m"})
    return SkewedScene(declared, *more)


async def test_leaf_is_valid_from_issue_and_is_renewed_in_time() -> None:
    async with begun(skewed()) as it:
        await it.live(MINUTE)
        before = leaves(it)
        await it.live(9 * HOUR)
        assert not before & leaves(it)
        assert it.broken == []


@pytest.mark.parametrize("lifetime", [6 * HOUR, 24 * HOUR])
async def test_root_rotation_rejects_no_peer(lifetime: timedelta) -> None:
    async with begun(skewed(lifetime=lifetime)) as it:
        first = it.active
        await it.live(21 * HOUR)
        assert it.phases == WHOLE
        assert it.active != first
        assert it.broken == []


async def test_root_and_leaves_rotated_together_reject_no_peer() -> None:
    async with begun(skewed()) as it:
        await it.live(MINUTE)
        now = stamp(it.clock.now())
        await it.user_puts(of_root(requestedAt=now))
        for ref in IDENTITIES:
            await it.user_puts(of_leaf(ref, requestedAt=now))
        await it.live(20 * MINUTE)
        assert it.phases == WHOLE
        assert it.broken == []


async def test_new_given_ca_signs_once_it_is_valid_by_every_clock() -> None:
    async with begun(SkewedScene(*with_a_given_ca())) as it:
        await it.live(MINUTE)
        just_begun = by_hand("just begun", begins=MINUTE)
        await it.user_puts(given(just_begun, None))
        await it.live(PROPAGATION + MINUTE)
        assert it.phase == "Distributing"
        (blocker,) = it.blockers
        valid_to_all = just_begun.certificate.not_valid_before_utc + SKEW
        assert blocker.endswith(
            " has just become valid, and clocks may be behind; Troth waits until "
            f"{valid_to_all:%Y-%m-%d %H:%M} UTC"
        )
        await it.live(30 * MINUTE)
        assert it.phases == WHOLE
        assert it.broken == []


async def test_old_root_is_trusted_until_its_last_leaf_expires_by_every_clock() -> None:
    async with begun(skewed()) as it:
        await it.live(MINUTE)
        await it.user_puts(of_root(requestedAt=stamp(it.clock.now())))
        await it.user_puts(twin_of(IDENTITIES[0]))
        await it.until("Reissuing")
        await it.live(PROPAGATION + MINUTE)
        assert [blocker.split(" has a certificate")[0] for blocker in it.blockers] == [
            f"Secret {SECRET_OF_FIRST}"
        ]
        await it.until("Idle", patience=7 * HOUR)
        await it.live(2 * SKEW)
        refused = [told for told in it.broken if "certificate has expired" not in told]
        assert refused == []
        assert all(f"refuses {SECRET_OF_FIRST}" in told for told in it.broken)


def twin_of(ref: Ref) -> Manifest:
    """Return an identity with the same ServiceAccount, which blocks issue for both."""
    return identity(Ref(ref.namespace, "twin")) | {"spec": identity(ref)["spec"]}


@pytest.mark.parametrize(
    ("lifetime", "bears"),
    [(3 * (SKEW + PROPAGATION), True), (3 * PROPAGATION, False)],
)
async def test_remaining_life_at_renewal_must_outlast_lag_and_skew(
    lifetime: timedelta, bears: bool
) -> None:
    async with begun(skewed(lifetime=lifetime)) as it:
        await it.live(2 * HOUR)
        assert (it.broken == []) is bears


# Requests from users with wrong clocks


def of_leaf(ref: Ref = IDENTITIES[0], **spec: str) -> Manifest:
    return rotation("ServiceIdentity", ref.name, ref.namespace, **spec)


def root(it: Scene) -> str:
    return it.active


def leaf(it: Scene) -> str:
    certificate: str = it.server.objects["Secret", SECRET_OF_FIRST]["data"]["tls.crt"]
    return certificate


Ask = Callable[..., Manifest]
Credential = Callable[[Scene], str]
either = pytest.mark.parametrize(("ask", "credential"), [(of_root, root), (of_leaf, leaf)])


async def replaced(it: Scene, credential: Credential, request: Manifest, within: timedelta) -> int:
    """Request a rotation; return how often a credential was replaced in the time given."""
    seen = [credential(it)]
    until = it.clock.now() + within
    await it.user_puts(request)
    while it.clock.now() < until:
        await it.live(STEP)
        if credential(it) != seen[-1]:
            seen.append(credential(it))
    return len(seen) - 1


@either
async def test_future_request_waits_and_counts_once(ask: Ask, credential: Credential) -> None:
    async with scene() as it:
        await it.live(MINUTE)
        request = ask(requestedAt=stamp(it.clock.now() + SKEW))
        assert await replaced(it, credential, request, within=SKEW - STEP) == 0
        assert it.phases == ["Idle"]
        assert await replaced(it, credential, request, within=HOUR) == 1


@either
async def test_past_request_replaces_only_what_was_made_before_it(
    ask: Ask, credential: Credential
) -> None:
    async with scene() as it:
        await it.live(SKEW - MINUTE)
        request = ask(requestedAt=stamp(it.clock.now() - SKEW))
        assert await replaced(it, credential, request, within=HOUR) == 0
        assert it.phases == ["Idle"]
        request = ask(requestedAt=stamp(it.clock.now() - SKEW))
        assert await replaced(it, credential, request, within=HOUR) == 1


@either
async def test_request_with_a_fraction_of_a_second_counts_once(
    ask: Ask, credential: Credential
) -> None:
    """Certificates record their creation in whole seconds."""
    async with scene() as it:
        await it.live(MINUTE)
        await it.clock.move_to(it.clock.now() + timedelta(seconds=0.7))
        written = len(it.server.log)
        request = ask(requestedAt=f"{it.clock.now():%Y-%m-%dT%H:%M:%S}.5Z")
        assert await replaced(it, credential, request, within=HOUR) == 1
        issued = [kind for kind, ref in it.server.log[written:] if ref == SECRET_OF_FIRST]
        assert len(issued) <= 3, "told of the new root, reissued, told of its end"
