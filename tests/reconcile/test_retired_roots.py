"""Rotations leave the old root and the old token key in the trust bundle for events."""

import base64
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from tests.builders import stamp
from tests.reconcile.rotating import AUTHORITY, STEP, Manifest, Scene, begun, roots_of
from tests.reconcile.rotating import trust_domain as short_lived
from tests.reconcile.test_rotation_requests import (
    OTHER_ROOT,
    ROOT,
    WHOLE,
    given,
    of_root,
    with_a_given_ca,
)
from tests.reconcile.test_rotation_requests import SECOND as SECOND_CA
from tests.reconcile.token_rotating import TOKENS, TokenScene
from troth.documents.event_bundles import FILE as EVENTS_BUNDLE_MAP
from troth.documents.event_bundles import TOLERANCE
from troth.pki.bundles.spiffe_bundle import SPIFFEBundle, parse_bundle_map
from troth.resources.references import Ref
from troth.world.observation import objects as observe
from troth.world.observation.retired import RETIRED, read_keys, read_roots

MINUTE = timedelta(minutes=1)
LONG = timedelta(minutes=25)
WEEK = timedelta(hours=168)
BUNDLE = "ConfigMap", Ref("team0", "trust-bundle")


def trust_domain(**spec: Any) -> Manifest:
    """Return a trust domain whose root outlives every test here."""
    lasting = {
        "authority": {"selfManaged": {"lifetime": "8000h"}},
        "certificates": {"lifetime": "24h"},
    }
    return short_lived(**lasting | spec)


class EventScene(Scene):
    """Scene that also verifies events: each root that ever signed must verify its events."""

    def __init__(self, *more: Manifest) -> None:
        super().__init__(trust_domain(), *more)
        self.ever: set[str] = set()
        self.compromised: set[str] = set()

    def bundle(self, file: str = EVENTS_BUNDLE_MAP) -> SPIFFEBundle:
        return parse_bundle_map(self.server.objects[BUNDLE]["data"][file])["prod.shop.example"]

    def roots(self, file: str = EVENTS_BUNDLE_MAP) -> set[str]:
        """Return the key identifiers of the roots of a bundle map."""
        return set(roots_of(b"".join(self.bundle(file).x509_authorities)))

    @property
    def live_roots(self) -> set[str]:
        return self.roots(observe.BUNDLE_MAP)

    def _look(self) -> None:
        super()._look()
        self.ever |= self.live_roots
        missing = self.ever - self.compromised - self.roots()
        stolen = self.compromised & self.roots()
        if missing or stolen:
            self.broken.append(f"events: missing {missing}, stolen {stolen}, in {self.phase}")

    async def rotate(self, name: str = "now") -> None:
        await self.live(MINUTE)  # a request replaces only what was made before it
        await self.user_puts(of_root(name, requestedAt=stamp(self.clock.now())))
        await self.live(LONG)

    async def pass_by(self, length: timedelta) -> None:
        """Advance the clock at once."""
        await self.clock.move_to(self.clock.now() + length)
        await self.settle()


def records(it: Scene) -> list[str]:
    """Return the fingerprints of the recorded roots."""
    data = observe.decoded(it.server.objects["Secret", AUTHORITY])
    found = read_roots(data.get(RETIRED, b""))
    assert found is not None
    return [each.fingerprint for each in found]


async def test_rotated_root_verifies_events_until_the_maximum_age_has_passed() -> None:
    async with begun(EventScene()) as it:
        (first,) = it.live_roots
        await it.rotate()
        (second,) = it.live_roots
        assert it.roots() == {first, second}
        assert it.broken == []
        retired = it.status["retiredAuthorities"]
        assert [each["fingerprint"] for each in retired] == [records(it)[0][:16]]
        await it.pass_by(WEEK - LONG)
        assert it.roots() == {first, second}
        await it.pass_by(LONG + timedelta(seconds=TOLERANCE))
        assert it.roots() == it.live_roots == {second}
        assert it.status.get("retiredAuthorities", []) == []


async def test_replaced_given_ca_verifies_events() -> None:
    own, *given_ca = with_a_given_ca()
    domain = trust_domain(authority=own["spec"]["authority"])
    async with begun(EventScene(domain, *given_ca)) as it:
        await it.user_puts(given(SECOND_CA, OTHER_ROOT))
        await it.live(LONG)
        assert it.live_roots == set(roots_of(OTHER_ROOT.pem))
        assert it.roots() == set(roots_of(ROOT.pem + OTHER_ROOT.pem))
        assert it.broken == []


async def test_compromised_root_never_verifies_events() -> None:
    async with begun(EventScene()) as it:
        first, (stolen,) = it.active, it.live_roots
        it.compromised = {stolen}
        await it.user_puts(of_root(compromised=first))
        await it.live(LONG)
        assert it.live_roots == it.roots()
        assert stolen not in it.roots()
        assert records(it) == []


async def test_root_compromised_while_it_retires_never_verifies_events() -> None:
    async with begun(EventScene()) as it:
        await it.live(MINUTE)
        first, (stolen,) = it.active, it.live_roots
        await it.user_puts(of_root(requestedAt=stamp(it.clock.now())))
        await it.until("Reissuing")
        await it.user_puts(of_root("stolen", compromised=first))
        it.compromised = {stolen}
        await it.live(LONG)
        assert stolen not in it.roots()
        assert records(it) == []


async def test_root_that_is_compromised_after_its_retirement_leaves_at_once() -> None:
    async with begun(EventScene()) as it:
        first, (stolen,) = it.active, it.live_roots
        await it.rotate()
        assert stolen in it.roots()
        await it.user_puts(of_root("stolen", compromised=first))
        assert it.roots() == it.live_roots
        assert records(it) == []
        assert it.status.get("retiredAuthorities", []) == []
        it.server.objects.pop(("CredentialRotation", Ref("troth-system", "stolen")))
        it.compromised = {stolen}
        await it.kill()
        await it.start()
        await it.live(STEP)
        assert it.roots() == it.live_roots
        assert it.broken == []


async def test_restarted_operator_keeps_retired_roots() -> None:
    async with begun(EventScene()) as it:
        await it.rotate()
        before = it.roots()
        writes = len(it.server.log)
        await it.kill()
        await it.start()
        await it.live(STEP)
        assert it.roots() == before
        assert len(it.server.log) == writes, "and writes nothing"
        assert it.broken == []


def writes_since(it: Scene, first: int) -> Iterator[int]:
    """Yield the numbers of the writes that have a part in what is retired."""
    for number, place in enumerate(it.server.log, start=1):
        parts = place in (("Secret", AUTHORITY), BUNDLE) or place[0] == "TrustDomain"
        if number >= first and parts:
            yield number


@pytest.mark.long
async def test_rotations_keep_every_root_for_events_after_a_crash_at_any_write() -> None:
    async with begun(EventScene()) as it:
        first = len(it.server.log) + 1
        for name in ("first", "second"):
            await it.rotate(name)
        assert it.phases == [*WHOLE, *WHOLE[1:]]
        writes = list(writes_since(it, first))
    assert len(writes) > 12
    for number in writes:
        async with begun(EventScene()) as it:
            it.server.crash_after = number
            for name in ("first", "second"):
                await it.rotate(name)
            told = f"killed after write {number}: {it.server.log[number - 1]}"
            assert it.crashes == 1, told
            assert it.phase == "Idle", told
            assert it.broken == [], told
            assert len(records(it)) == 2, told
            assert len(it.roots()) == 3, told


async def test_compromised_retired_root_leaves_after_a_crash_at_any_write() -> None:
    async def story(it: EventScene) -> int:
        first, (stolen,) = it.active, it.live_roots
        await it.rotate()
        begins = len(it.server.log) + 1
        await it.user_puts(of_root("stolen", compromised=first))
        it.compromised = {stolen}
        await it.live(MINUTE)
        return begins

    async with begun(EventScene()) as it:
        writes = range(await story(it), len(it.server.log) + 1)
    assert len(writes) >= 4
    for number in writes:
        async with begun(EventScene()) as it:
            it.server.crash_after = number
            await story(it)
            told = f"killed after write {number}: {it.server.log[number - 1]}"
            assert it.crashes == 1, told
            assert it.roots() == it.live_roots, told
            assert records(it) == [], told
            assert it.broken == [], told


async def test_rotated_token_key_verifies_events() -> None:
    async with begun(TokenScene()) as it:
        await it.live(MINUTE)
        (old,) = it.keys_in("team0")
        await it.ask()
        await it.live(2 * LONG)
        assert it.token_phase == "Idle"
        assert old not in it.keys_in("team0")
        found = parse_bundle_map(it.server.objects[BUNDLE]["data"][EVENTS_BUNDLE_MAP])
        assert set(found["prod.shop.example"].jwt_keys) == {old, *it.keys_in("team0")}
        stored = base64.b64decode(it.server.objects[TOKENS]["data"][RETIRED])
        assert [each.key.kid for each in read_keys(stored) or ()] == [old]
        (listed,) = it.status["retiredTokenKeys"]
        await it.ask(compromised=listed["fingerprint"])
        found = parse_bundle_map(it.server.objects[BUNDLE]["data"][EVENTS_BUNDLE_MAP])
        assert set(found["prod.shop.example"].jwt_keys) == set(it.keys_in("team0"))
        assert RETIRED not in it.server.objects[TOKENS]["data"]
        assert it.broken == []


@pytest.mark.parametrize("written", [b"garbage", b""])
async def test_drift_of_the_records_is_removed(written: bytes) -> None:
    async with begun(EventScene()) as it:
        await it.rotate()
        it.tamper(
            "Secret",
            AUTHORITY,
            lambda secret: secret["data"].update({RETIRED: base64.b64encode(written).decode()}),
        )
        await it.settle()
        assert it.roots() == it.live_roots
        assert it.phase == "Idle"
