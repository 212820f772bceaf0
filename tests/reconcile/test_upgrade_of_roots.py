"""An installation whose roots have one certificate each gets the second one without a gap."""

import base64
import copy
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta

import pytest

from tests.builders import stamp
from tests.reconcile.rotating import AUTHORITY, Scene, begun
from tests.reconcile.test_rotation_requests import of_root
from troth.documents.secret_keys import KEY, LEAF, ROOTS
from troth.pki.bundles.trust_bundle import parse_bundle
from troth.pki.certificates.pairs import root_id
from troth.pki.encodings.pem import read_certificates
from troth.planning.trust_domain import authority
from troth.reconcile.apply.keys import key_material
from troth.resources.references import Ref
from troth.world.observation import objects as observe
from troth.world.observation.retired import RETIRED

MINUTE = timedelta(minutes=1)
HALF_AN_HOUR = timedelta(minutes=30)


class Installation(Scene):
    """A cluster that an operator of either version runs; no store may have a root twice."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.patch = patch
        patch.setattr(key_material, "plain_certificate", lambda *_: b"")
        patch.setattr(authority, "add_plain", lambda *_: None)

    async def upgrade(self) -> None:
        await self.kill()
        self.patch.undo()
        await self.start()

    def _look(self) -> None:
        super()._look()
        for place, text in self.stores():
            roots = Counter(map(root_id, read_certificates(text.encode(), "a store")))
            if roots.most_common(1)[0][1] > 1:
                self.broken.append(f"{place} has two certificates of a root")

    def stores(self) -> Iterator[tuple[Ref, str]]:
        """Yield each `ca.crt` that verifiers read."""
        for (kind, ref), manifest in self.server.objects.items():
            if kind == "ConfigMap" and ROOTS in manifest["data"]:
                yield ref, manifest["data"][ROOTS]
            if kind == "Secret" and ref != AUTHORITY and ROOTS in manifest["data"]:
                yield ref, observe.decoded(manifest)[ROOTS].decode()

    def leaves(self) -> dict[Ref, bytes]:
        return {
            ref: observe.decoded(manifest)[LEAF]
            for (kind, ref), manifest in self.server.objects.items()
            if kind == "Secret" and ref != AUTHORITY
        }

    @property
    def authority(self) -> dict[str, bytes]:
        return observe.decoded(self.server.objects["Secret", AUTHORITY])

    def everybody_trusts(self, name: str) -> bool:
        """Return whether each store holds exactly one of the authority's certificates."""
        wanted = parse_bundle(self.authority[name].decode())
        return all(parse_bundle(text) == wanted for _, text in self.stores())


async def test_upgrade_adds_plain_roots_without_a_new_leaf_or_a_rejection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with begun(Installation(monkeypatch)) as it:
        await it.live(10 * MINUTE)
        assert sorted(it.authority) == [LEAF, KEY]
        assert it.everybody_trusts(LEAF)
        leaves, active = it.leaves(), it.active
        root = it.authority[LEAF]
        await it.upgrade()
        assert it.everybody_trusts(observe.PLAIN), "nothing waits"
        await it.live(10 * MINUTE)
        assert it.leaves() == leaves
        assert (it.active, it.authority[LEAF]) == (active, root)
        assert it.phases == ["Idle"]
        assert it.broken == []


@pytest.mark.parametrize("phase", ["Distributing", "Reissuing", "Retiring"])
async def test_upgrade_in_any_phase_of_a_rotation_rejects_no_peer(
    monkeypatch: pytest.MonkeyPatch, phase: str
) -> None:
    async with begun(Installation(monkeypatch)) as it:
        await it.live(MINUTE)
        await it.user_puts(of_root(requestedAt=stamp(it.clock.now())))
        await it.until(phase)
        await it.upgrade()
        await it.live(HALF_AN_HOUR)
        assert it.phase == "Idle"
        assert sorted(it.authority) == [observe.PLAIN, RETIRED, LEAF, KEY]
        assert it.everybody_trusts(observe.PLAIN)
        assert it.broken == []


async def test_crash_at_any_write_of_an_upgrade_rejects_no_peer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    number = 0
    while True:
        with monkeypatch.context() as patch:
            async with begun(Installation(patch)) as it:
                await it.live(MINUTE)
                leaves, number = it.leaves(), number + 1
                it.server.crash_after = len(it.server.log) + number
                await it.upgrade()
                await it.live(2 * MINUTE)
                assert it.leaves() == leaves
                assert it.everybody_trusts(observe.PLAIN)
                assert it.broken == []
                if not it.crashes:
                    break
    assert number > 9, "a write of the authority, of each bundle and of each identity"


async def test_rotation_keeps_the_certificates_of_each_root_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with begun(Installation(monkeypatch)) as it:
        await it.upgrade()
        await it.live(MINUTE)
        before = it.authority
        await it.user_puts(of_root(requestedAt=stamp(it.clock.now())))
        await it.until("Reissuing")
        assert it.authority[observe.RETIRING] == before[LEAF]
        assert it.authority[observe.RETIRING_PLAIN] == before[observe.PLAIN]
        await it.live(HALF_AN_HOUR)
        assert sorted(it.authority) == [observe.PLAIN, RETIRED, LEAF, KEY]
        assert it.authority[observe.PLAIN] != before[observe.PLAIN]
        assert it.broken == []


@pytest.mark.parametrize("wrong", ["nothing", "another root", "the confined one"])
async def test_plain_root_that_is_not_the_roots_own_is_replaced(
    monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    async with begun(Installation(monkeypatch)) as it:
        await it.upgrade()
        await it.live(MINUTE)
        stored = copy.deepcopy(it.server.objects["Secret", AUTHORITY])
        other = Installation(monkeypatch)
        content = {"nothing": b"nothing", "the confined one": it.authority[LEAF]}
        if wrong == "another root":
            async with begun(other):
                content[wrong] = other.authority[LEAF]
        monkeypatch.undo()
        stored["data"][observe.PLAIN] = base64.b64encode(content[wrong]).decode()
        await it.user_puts(stored)
        await it.live(MINUTE)
        assert it.everybody_trusts(observe.PLAIN)
        assert it.broken == []
