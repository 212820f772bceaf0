"""Requested rotations: immediate, repeated, during another rotation, and for a compromise."""

import base64
from collections.abc import Iterable
from datetime import timedelta

import pytest

from tests.builders import rotation, secret, stamp
from tests.pki.builders import Made, by_hand
from tests.reconcile.rotating import (
    AUTHORITY,
    IDENTITIES,
    PROPAGATION,
    ROOT_LIFETIME,
    START,
    STEP,
    SYSTEM,
    Manifest,
    Scene,
    declarations,
    scene,
)
from troth.cluster.errors import ApiError
from troth.pki.bundles.trust_bundle import parse_bundle
from troth.resources.references import Ref

MINUTE = timedelta(minutes=1)
WHOLE = ["Idle", "Distributing", "Reissuing", "Retiring", "Idle"]


def of_root(name: str = "now", **spec: object) -> Manifest:
    return rotation("TrustDomain", "production", SYSTEM, name, **spec)


def refusal() -> ApiError:
    return ApiError(403, "Forbidden", "not now")


def leaves(it: Scene) -> set[str]:
    return {
        it.server.objects["Secret", Ref(ref.namespace, f"{ref.name}-identity")]["data"]["tls.crt"]
        for ref in IDENTITIES
    }


def slots(it: Scene) -> set[str]:
    return set(it.server.objects["Secret", AUTHORITY]["data"])


async def test_request_rotates_the_root_now() -> None:
    async with scene() as it:
        first = it.active
        await it.live(MINUTE)
        await it.user_puts(of_root(requestedAt=stamp(it.clock.now())))
        await it.live(20 * MINUTE)
        assert it.phases == WHOLE
        assert it.active != first
        assert it.broken == []


async def test_two_requests_at_once_are_one_rotation() -> None:
    async with scene() as it:
        await it.live(MINUTE)
        now = stamp(it.clock.now())
        await it.user_puts(of_root("one", requestedAt=now))
        await it.user_puts(of_root("two", requestedAt=now))
        await it.live(30 * MINUTE)
        assert it.phases == WHOLE


async def test_root_and_leaves_rotated_at_once_reject_no_peer() -> None:
    async with scene() as it:
        await it.live(MINUTE)
        before, now = leaves(it), stamp(it.clock.now())
        await it.user_puts(of_root(requestedAt=now))
        for ref in IDENTITIES:
            await it.user_puts(
                rotation("ServiceIdentity", ref.name, ref.namespace, requestedAt=now)
            )
        assert not before & leaves(it)
        await it.live(20 * MINUTE)
        assert it.phases == WHOLE
        assert it.broken == []


@pytest.mark.parametrize("phase", ["Distributing", "Reissuing", "Retiring"])
async def test_request_during_a_rotation_follows_it(phase: str) -> None:
    async with scene() as it:
        await it.live(MINUTE)
        await it.user_puts(of_root(requestedAt=stamp(it.clock.now())))
        await it.until(phase)
        await it.live(STEP)
        await it.user_puts(of_root(requestedAt=stamp(it.clock.now())))
        await it.live(40 * MINUTE)
        assert it.phases == [*WHOLE[:-1], *WHOLE[1:]]
        assert it.broken == []


async def test_overlap_keeps_the_old_root_for_its_length() -> None:
    async with scene() as it:
        await it.live(MINUTE)
        await it.user_puts(of_root(requestedAt=stamp(it.clock.now()), overlap="2h"))
        await it.until("Retiring")
        await it.live(timedelta(hours=2) - 5 * MINUTE)
        assert it.phase == "Retiring"
        await it.live(6 * MINUTE)
        assert it.phase == "Idle"


async def test_request_withdrawn_in_time_has_no_effect() -> None:
    async with scene() as it:
        await it.live(MINUTE)
        await it.user_puts(of_root(requestedAt=stamp(it.clock.now() + 5 * MINUTE)))
        await it.live(MINUTE)
        await it.user_puts(of_root())
        await it.live(20 * MINUTE)
        assert it.phases == ["Idle"]


# Compromised roots


async def test_compromised_root_is_dropped_at_once_and_blockers_are_named() -> None:
    async with scene() as it:
        await it.live(MINUTE)
        first, before = it.active, leaves(it)
        it.server.refuses = lambda place: (
            refusal() if place == ("Secret", Ref("team1", "service1-identity")) else None
        )
        await it.user_puts(of_root(compromised=first))
        assert it.active != first
        assert len(it.status["authorities"]) == 1
        assert {"tls.crt", "tls.key", "plain.crt"} == slots(it)
        (old,) = before & leaves(it)  # the one whose write is refused
        assert it.phase == "Reissuing"
        (blocker,) = it.blockers
        assert blocker == (
            "Secret team1/service1-identity has a certificate of a revoked root, which is "
            "rejected until it is reissued"
        )
        it.server.refuses = lambda _: None
        await it.look_again(*IDENTITIES)
        await it.live(PROPAGATION + MINUTE)
        assert old not in leaves(it)
        assert it.phase == "Idle"


async def test_fingerprint_of_the_plain_certificate_revokes_its_root() -> None:
    """A person reads it from `ca.crt`; the status shows that of the confined certificate."""
    async with scene() as it:
        await it.live(MINUTE)
        stored = it.server.objects["Secret", AUTHORITY]
        plain = base64.b64decode(stored["data"]["plain.crt"])
        first, (shown,) = it.active, parse_bundle(plain.decode())
        assert not shown.startswith(first)
        await it.user_puts(of_root(compromised=shown[:16]))
        assert it.active != first
        assert len(it.status["authorities"]) == 1


async def test_compromised_prepared_root_never_signs() -> None:
    async with scene() as it:
        await it.live(MINUTE)
        first = it.active
        await it.user_puts(of_root(requestedAt=stamp(it.clock.now())))
        spoilt = it.status["authorities"][1]
        assert spoilt["state"] == "Prepared"
        await it.user_puts(of_root("stolen", compromised=spoilt["fingerprint"]))
        await it.live(20 * MINUTE)
        assert it.phases[-1] == "Idle"
        assert it.active not in (first, spoilt["fingerprint"])
        assert it.broken == []


async def test_compromised_retiring_root_is_not_awaited() -> None:
    async with scene() as it:
        await it.live(MINUTE)
        first = it.active
        await it.user_puts(of_root(requestedAt=stamp(it.clock.now()), overlap="24h"))
        await it.until("Retiring")
        await it.user_puts(of_root("stolen", compromised=first))
        assert [each["state"] for each in it.status["authorities"]] == ["Active"]
        assert it.phase == "Idle"


async def test_compromised_active_root_is_dropped_while_the_retiring_one_serves() -> None:
    async with scene() as it:
        await it.live(MINUTE)
        first = it.active
        await it.user_puts(of_root(requestedAt=stamp(it.clock.now())))
        await it.until("Reissuing")
        stolen = it.active
        await it.user_puts(of_root("stolen", compromised=stolen))
        states = {each["fingerprint"]: each["state"] for each in it.status["authorities"]}
        assert states.get(first) == "Retiring"
        assert stolen not in states
        await it.live(20 * MINUTE)
        assert it.phase == "Idle"
        assert it.active not in (first, stolen)


# A bundle that is never reached


async def test_rotation_proceeds_at_the_deadline_without_an_unreachable_bundle() -> None:
    """After the deadline, every new certificate would be cut short."""
    async with scene() as it:
        await it.live(MINUTE)
        mute = "ConfigMap", Ref("team1", "trust-bundle")
        it.server.refuses = lambda place: refusal() if place == mute else None
        await it.user_puts(of_root(requestedAt=stamp(it.clock.now())))
        await it.live(timedelta(hours=23))
        await it.look_again()
        assert it.phase == "Distributing"
        assert str(mute[1].namespace) in it.blockers[0]
        deadline = START + ROOT_LIFETIME - timedelta(hours=6)  # minus the lifetime of a leaf
        assert f"until {deadline:%Y-%m-%d %H:%M} UTC" in it.blockers[0]
        await it.live(timedelta(hours=1))
        for _ in range(20):
            await it.look_again()
            await it.live(MINUTE)
        assert it.phase == "Idle"


# Given CAs


ROOT, OTHER_ROOT = by_hand("corporate root"), by_hand("another root")
FIRST = by_hand("first intermediate", ROOT, path_length=0)
SECOND = by_hand("second intermediate", OTHER_ROOT, path_length=0)
THIRD = by_hand("third intermediate", ROOT, path_length=0)


def given(made: Made, root: Made | None) -> Manifest:
    roots = {"ca_crt": root.pem} if root else {}
    return secret("corporate", SYSTEM, tls_crt=made.pem, tls_key=made.key_pem, **roots)


def with_a_given_ca() -> Iterable[Manifest]:
    (domain, *_) = declarations()
    domain["spec"]["authority"] = {"secretRef": {"name": "corporate"}}
    return domain, given(FIRST, ROOT)


async def test_replaced_given_ca_takes_over_in_phases() -> None:
    async with scene(*with_a_given_ca()) as it:
        await it.live(MINUTE)
        first = it.active
        await it.user_puts(given(SECOND, OTHER_ROOT))
        await it.live(20 * MINUTE)
        assert it.phases == WHOLE
        assert it.active != first
        assert it.broken == []
        assert slots(it) == {"tls.crt", "tls.key", "ca.crt", "retired.json"}
        bundle = it.server.objects["ConfigMap", Ref("team0", "trust-bundle")]["data"]["ca.crt"]
        assert bundle.encode() == OTHER_ROOT.pem


async def test_given_ca_withdrawn_in_time_never_signs() -> None:
    async with scene(*with_a_given_ca()) as it:
        await it.live(MINUTE)
        first, before = it.active, leaves(it)
        await it.user_puts(given(SECOND, OTHER_ROOT))
        await it.live(MINUTE)
        await it.user_puts(given(FIRST, ROOT))
        await it.live(20 * MINUTE)
        assert (it.active, leaves(it)) == (first, before)
        assert it.broken == []


async def test_given_ca_replaced_twice_ends_with_the_last() -> None:
    async with scene(*with_a_given_ca()) as it:
        await it.live(MINUTE)
        await it.user_puts(given(SECOND, OTHER_ROOT))
        await it.live(MINUTE)
        await it.user_puts(given(THIRD, ROOT))
        await it.live(30 * MINUTE)
        assert it.phase == "Idle"
        stored = it.server.objects["Secret", AUTHORITY]["data"]
        assert base64.b64decode(stored["tls.crt"]) == THIRD.pem
        assert it.broken == []


async def test_given_ca_lost_during_a_rotation_pauses_it_without_rejections() -> None:
    async with scene(*with_a_given_ca()) as it:
        await it.live(MINUTE)
        await it.user_puts(given(SECOND, OTHER_ROOT))
        await it.live(MINUTE)
        await it.user_puts({**given(SECOND, OTHER_ROOT), "data": {"tls.crt": "bm90aGluZw=="}})
        await it.live(20 * MINUTE)
        assert it.broken == []
        await it.user_puts(given(SECOND, OTHER_ROOT))
        await it.live(20 * MINUTE)
        assert it.phase == "Idle"
        assert it.broken == []
        stored = it.server.objects["Secret", AUTHORITY]["data"]
        assert base64.b64decode(stored["tls.crt"]) == SECOND.pem


async def test_expired_given_ca_never_takes_over() -> None:
    async with scene(*with_a_given_ca()) as it:
        await it.live(MINUTE)
        first = it.active
        await it.user_puts(given(by_hand("old", lifetime=MINUTE), None))
        await it.live(20 * MINUTE)
        assert it.active == first
        assert it.condition("AuthorityReady") == ("False", "AuthorityExpired")
        assert it.broken == []


async def test_given_ca_not_yet_valid_takes_over_once_it_is_valid() -> None:
    async with scene(*with_a_given_ca()) as it:
        await it.live(MINUTE)
        first = it.active
        await it.user_puts(given(by_hand("later", begins=timedelta(hours=2)), None))
        await it.live(20 * MINUTE)
        assert it.active == first
        assert it.condition("AuthorityReady") == ("False", "AuthorityNotYetValid")
        await it.live(timedelta(hours=3))
        assert it.condition("AuthorityReady") == ("True", "Active")
        assert it.phase == "Idle"
        assert it.active != first
        assert it.broken == []


async def test_switch_from_own_root_to_given_ca_and_back_rejects_no_peer() -> None:
    async with scene() as it:
        await it.live(MINUTE)
        own, *given_ca = with_a_given_ca()
        for manifest in (*given_ca, own):
            await it.user_puts(manifest)
        await it.live(20 * MINUTE)
        assert it.phases == WHOLE
        await it.user_puts(next(iter(declarations())))
        await it.live(20 * MINUTE)
        assert it.phases == [*WHOLE, *WHOLE[1:]]
        assert slots(it) == {"tls.crt", "tls.key", "plain.crt", "retired.json"}
        assert it.broken == []


async def test_compromised_given_ca_waits_for_another() -> None:
    async with scene(*with_a_given_ca()) as it:
        await it.live(MINUTE)
        first = it.active
        await it.user_puts(of_root(compromised=first))
        assert it.phase == "Preparing"
        (blocker,) = it.blockers
        assert blocker == (
            f"Secret troth-system/corporate holds no CA other than the compromised {first}; put "
            "another CA there"
        )
        await it.user_puts(given(SECOND, OTHER_ROOT))
        assert it.active != first
        assert len(it.status["authorities"]) == 1
