"""Events of a rotation: one for every phase."""

import asyncio
import copy
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from inspect import getsource
from pathlib import Path

import pytest

from tests.builders import DAY, NOW, OWN, Manifest, domain, identity, namespace, rotation, stamp
from tests.reconcile.serving import Running, Server, running
from troth.cluster.errors import ApiError
from troth.planning.plan import Plan
from troth.reconcile.events import rotation as rotation_events
from troth.reconcile.events.notice import Notice
from troth.reconcile.events.rotation import of_credential_rotation, of_trust_domain
from troth.reconcile.events.transitions import event
from troth.reconcile.rehearsal import Place
from troth.resources.references import Ref
from troth.resources.rotation.blockers import MOST_BLOCKERS
from troth.world.index.rotations import rotation_key
from troth.world.keys import domain_key

STEP = timedelta(seconds=30)
DOMAIN = ("TrustDomain", Ref("", "production"))
PAYMENTS = ("ServiceIdentity", Ref("shop", "payments"))
OF_ROOT = ("CredentialRotation", Ref(OWN, "production-rotation"))
OF_PAYMENTS = ("CredentialRotation", Ref("shop", "payments-rotation"))


@asynccontextmanager
async def settled(served: type[Server] = Server) -> AsyncIterator[Running]:
    """Start an engine on a settled shop, a day after its creation, without Events."""
    server = served([namespace("shop", domain="production"), domain(), identity()])
    async with running(server, due=True) as it:
        await it.settle()
        await live(it, DAY, step=DAY / 4)
        server.events.clear()
        yield it


async def live(it: Running, length: timedelta, step: timedelta = STEP) -> None:
    until = it.clock.now() + length
    while it.clock.now() < until:
        await it.clock.move_to(it.clock.now() + step)
        for _ in range(8):  # another task queues keys that are due
            await asyncio.sleep(0)
        await it.settle()


async def look_again(it: Running) -> None:
    """Reconcile as after the backoff of a refused write, whose clock does not advance here."""
    it.engine.queue.add([domain_key("production"), rotation_key(OF_ROOT[1])])
    await it.settle()


async def until(it: Running, phase: str) -> None:
    give_up = it.clock.now() + DAY
    while it.server.objects[DOMAIN]["status"]["rotation"]["phase"] != phase:
        assert it.clock.now() < give_up
        await live(it, STEP)


async def request_rotation(it: Running, **spec: str) -> None:
    """Request a root rotation now, or as `spec` says."""
    asked = spec or {"requestedAt": stamp(it.clock.now())}
    await it.put(rotation("TrustDomain", "production", OWN, **asked))


def active(it: Running) -> str:
    return str(it.server.objects[DOMAIN]["status"]["authorities"][0]["fingerprint"])


def events_about(it: Running, place: Place) -> list[tuple[str, str, str]]:
    """Return type, reason and note of every Event about an object, in order."""
    return [
        (event["type"], event["reason"], event["note"])
        for event in it.server.events
        if (event["regarding"]["kind"], event["regarding"]["name"]) == (place[0], place[1].name)
    ]


def rotating(it: Running, place: Place) -> list[tuple[str, str, str]]:
    return [each for each in events_about(it, place) if each[1].startswith("Rotation")]


def refusing(*refused: Place) -> Callable[[Place], ApiError | None]:
    return lambda place: ApiError(403, "Forbidden", "not yours") if place in refused else None


async def test_every_phase_of_a_root_is_reported_once_even_in_one_reconcile() -> None:
    async with settled() as it:
        old = active(it)
        await request_rotation(it)
        await live(it, timedelta(hours=1))
        new = active(it)
        expires = it.server.objects[DOMAIN]["status"]["authorities"][0]["notAfter"]
        assert new != old
        assert events_about(it, DOMAIN) == [
            (
                "Normal",
                "RotationPreparing",
                f"the new authority {new} is available beside {old}; it expires {expires}",
            ),
            (
                "Normal",
                "RotationDistributing",
                (
                    f"the new authority {new} is being added to every bundle; it signs nothing "
                    "until every verifier has it"
                ),
            ),
            (
                "Normal",
                "RotationActivating",
                f"{new} signs from now on; {old} is still trusted",
            ),
            (
                "Normal",
                "RotationReissuing",
                f"the certificates of {old} are being reissued, one after the other",
            ),
            (
                "Normal",
                "RotationRetiring",
                f"no certificate of {old} is in use any more; it is about to be retired",
            ),
            (
                "Normal",
                "RotationCompleted",
                f"{old} is retired; {new} has replaced it everywhere",
            ),
        ]


class Mumbling(Server):
    """Stores every new phase of a root's rotation and sends its event, but does not answer."""

    tell: Callable[[Manifest], None] | None = None

    def _write(self, place: Place, stored: Manifest) -> Manifest:
        before = self.objects.get(place, {}).get("status", {}).get("rotation")
        answer = super()._write(place, stored)
        if place == DOMAIN and self.tell and answer["status"]["rotation"] != before:
            self.tell(copy.deepcopy(answer))
            raise ApiError(0, "ServerDisconnectedError", "the answer was lost")
        return answer


async def test_phase_whose_status_was_stored_without_an_answer_is_reported() -> None:
    async with settled(Mumbling) as it:
        assert isinstance(it.server, Mumbling)
        it.server.tell = it.engine.observe
        await request_rotation(it)
        for _ in range(60):
            await live(it, 2 * STEP)
            await look_again(it)
        said = [reason for _, reason, _ in rotating(it, DOMAIN)]
        phases = "Preparing Distributing Activating Reissuing Retiring Completed"
        assert said == [f"Rotation{phase}" for phase in phases.split()]


async def test_credential_rotation_gets_an_event_for_each_phase() -> None:
    async with settled() as it:
        await request_rotation(it)
        asked_at = stamp(it.clock.now())
        await live(it, timedelta(hours=1))
        assert events_about(it, OF_ROOT) == [
            (
                "Normal",
                "RotationPrepared",
                "the next credential is created and is being distributed to its verifiers",
            ),
            (
                "Normal",
                "RotationOverlapping",
                f"the new credential, created {asked_at}, is in use; the old one is still valid",
            ),
            (
                "Normal",
                "RotationRetiring",
                "the old credential is no longer in use; it is about to be removed",
            ),
            ("Normal", "RotationCompleted", "the old credential is removed"),
        ]


async def test_requested_certificate_is_reported_on_both_objects() -> None:
    async with settled() as it:
        await it.put(rotation())
        it.server.events.clear()
        asked_at = stamp(it.clock.now())
        await it.put(rotation(requestedAt=asked_at))
        (completed,) = events_about(it, OF_PAYMENTS)
        assert completed == (
            "Normal",
            "RotationCompleted",
            f"the credential created {asked_at} has replaced the previous one",
        )
        assert [reason for _, reason, _ in events_about(it, PAYMENTS)] == ["Reissued"]


async def test_blocker_is_one_warning_and_not_one_per_reconcile() -> None:
    async with settled() as it:
        bundle = ("ConfigMap", Ref("shop", "trust-bundle"))
        it.server.refuses = refusing(bundle)
        await request_rotation(it)
        for _ in range(4):
            await live(it, timedelta(minutes=15))
            await look_again(it)
        for place in (DOMAIN, OF_ROOT):
            warnings = [each for each in events_about(it, place) if each[1] == "RotationBlocked"]
            ((type_, _, note),) = warnings
            assert type_ == "Warning"
            assert note.startswith("the bundle of namespace shop does not have the new root yet")


async def test_compromise_is_a_warning_that_names_the_rejected() -> None:
    async with settled() as it:
        old = active(it)
        it.server.refuses = refusing(("Secret", Ref("shop", "payments-identity")))
        await request_rotation(it, compromised=old)
        new = active(it)
        warnings = [each for each in rotating(it, DOMAIN) if each[0] == "Warning"]
        assert warnings == [
            (
                "Warning",
                "RotationActivating",
                (
                    f"{new} signs from now on; {old} is revoked, and Troth did not wait for its "
                    "users: its certificates are rejected until they are reissued"
                ),
            ),
            (
                "Warning",
                "RotationBlocked",
                (
                    "Secret shop/payments-identity has a certificate of a revoked root, which is "
                    "rejected until it is reissued"
                ),
            ),
        ]
        it.server.refuses = refusing()
        await it.put(identity(ports=["https"]))
        await live(it, timedelta(minutes=10))
        assert events_about(it, DOMAIN)[-1] == (
            "Normal",
            "RotationCompleted",
            f"every identity has a certificate of {new}",
        )


async def test_compromised_retiring_root_is_a_warning() -> None:
    async with settled() as it:
        old = active(it)
        await request_rotation(it)
        await until(it, "Distributing")
        it.server.refuses = refusing(("Secret", Ref("shop", "payments-identity")))
        await until(it, "Reissuing")
        await request_rotation(it, compromised=old)
        retiring = [each for each in events_about(it, DOMAIN) if each[1] == "RotationRetiring"]
        ((type_, _, note),) = retiring
        assert type_ == "Warning"
        assert note.startswith(f"{old} is revoked, and Troth did not wait for its users")


async def test_root_dropped_before_it_signs_is_reported() -> None:
    async with settled() as it:
        await request_rotation(it)
        listed = it.server.objects[DOMAIN]["status"]["authorities"]
        prepared = next(each["fingerprint"] for each in listed if each["state"] == "Prepared")
        await request_rotation(it, compromised=prepared)
        assert (
            "Warning",
            "RotationAbandoned",
            f"{prepared} was removed before it signed anything, because it is no longer wanted",
        ) in events_about(it, DOMAIN)


def blocked(names: list[str], phase: str = "Reissuing") -> dict[str, object]:
    return {"rotation": {"phase": phase, "blockers": names}, "phase": phase, "blockers": names}


LETTERS = "abcdefghijklmnopqrstuvwxyz"


@pytest.mark.parametrize(
    ("before", "after", "heard"),
    [
        ([], ["a"], ["a"]),
        (["a"], ["a"], []),
        (["a", "b"], ["b"], []),
        (["a"], ["a", "b"], ["b; see blockers in the status for the others"]),
        # the limit now shows one more at the end, which existed before
        (list(LETTERS[:MOST_BLOCKERS]), list(LETTERS[1 : MOST_BLOCKERS + 1]), []),
        (
            list(LETTERS[1 : MOST_BLOCKERS + 1]),
            list(LETTERS[:MOST_BLOCKERS]),
            ["a; see blockers in the status for the others"],
        ),
    ],
)
def test_only_a_new_blocker_is_reported(
    before: list[str], after: list[str], heard: list[str]
) -> None:
    of_domain = of_trust_domain(blocked(before), blocked(after))
    assert [each.note for each in of_domain] == heard
    of_rotation = of_credential_rotation(blocked(before), blocked(after))
    assert [each.note for each in of_rotation] == heard


def test_same_blocker_in_another_phase_is_reported_again() -> None:
    notices = of_trust_domain(blocked(["a"], "Distributing"), blocked(["a"], "Retiring"))
    assert "RotationBlocked" in [each.reason for each in notices]


def test_unreadable_spec_reports_no_rotation() -> None:
    authorities = [{"fingerprint": "a" * 16, "state": "Active", "notAfter": stamp(NOW)}]
    before = blocked([]) | {"authorities": authorities}
    assert not list(of_trust_domain(before, {"conditions": []}))
    assert not list(of_credential_rotation({"phase": "Prepared"}, {"conditions": []}))


def test_lost_authority_is_not_reported_as_a_rotation() -> None:
    authorities = [{"fingerprint": "a" * 16, "state": "Active", "notAfter": stamp(NOW)}]
    missing = {"type": "AuthorityReady", "status": "False"}
    after = blocked([], "Idle") | {"authorities": authorities, "conditions": [missing]}
    assert not list(of_trust_domain(blocked([]) | {"authorities": authorities}, after))


def test_event_names_sort_in_the_order_of_creation() -> None:
    plan, notice = Plan(domain_key("production"), ""), Notice("RotationPreparing", "")
    names = [
        event(plan, notice, "troth", NOW + timedelta(microseconds=number))["metadata"]["name"]
        for number in range(50)
    ]
    assert names == sorted(names)


def test_every_event_of_a_rotation_is_documented() -> None:
    root = Path(__file__).parents[3]
    told = set(re.findall(r'Notice\(\s*"(Rotation\w+)"', getsource(rotation_events)))
    text = (root / "docs" / "reference" / "rotation.md").read_text()
    assert set(re.findall(r"^\| `(Rotation\w+)` \|", text, re.MULTILINE)) == told


def test_note_has_at_most_the_bytes_that_the_api_server_takes() -> None:
    plan = Plan(key=rotation_key(OF_ROOT[1]), uid="uid")
    note = event(plan, Notice("Prepared", "ü" * 1000), "test", NOW)["note"]
    assert note == "ü" * 512
