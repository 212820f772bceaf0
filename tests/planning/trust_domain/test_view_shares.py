"""Shares of the issuer's configuration: no namespace takes room from one within its share."""

import gzip
import json
import random
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import builders
from tests.builders import NOW, OWN, Cluster, Manifest, accept, call, domain, identity, namespace
from troth.documents import token_grants
from troth.documents.token_grants import read_grants
from troth.planning.trust_domain.issuer import configuration as issuer_view
from troth.planning.trust_domain.issuer.configuration import compiled
from troth.planning.trust_domain.issuer.shares import OVERHEAD, CallerEntry, share_view
from troth.planning.trust_domain.view import gather_issuer
from troth.resources.references import Ref
from troth.world.facts.objects import Cutoff
from troth.world.keys import domain_key, identity_key
from troth.world.observation.objects import decoded, read_cutoffs, write_cutoffs
from troth.world.reader import Reader

BEFORE, AFTER = b'{"callers":{', b"}}"
MOST, LONGEST = OVERHEAD + 2000, OVERHEAD + 8000
TOKENS = "Secret", Ref(OWN, "production-tokens")


def entry(space: str, age: int, length: int, seed: int = 0) -> CallerEntry:
    """Return an entry with random text of a length; `age` is seconds since the oldest."""
    letters = random.Random(f"{space}{age}{seed}").choices("abcdefghijklmnopqrstuvwxyz", k=length)
    name = f"{age:04}"
    text = json.dumps({f"spiffe://x/ns/{space}/sa/{name}": "".join(letters)}).encode()[1:-1]
    return CallerEntry(space, NOW + timedelta(seconds=age), name, text)


def callers(view: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(gzip.decompress(view))["callers"]
    return found


def of_namespace(view: bytes, space: str) -> dict[str, Any]:
    return {name: each for name, each in callers(view).items() if f"/ns/{space}/" in name}


@st.composite
def entries(draw: st.DrawFn, space: str, *, longest: int = 3000) -> list[CallerEntry]:
    lengths = draw(st.lists(st.integers(0, longest), max_size=8))
    seed = draw(st.integers(0, 9))
    return [entry(space, age, length, seed) for age, length in enumerate(lengths)]


# a third of each room, with the names and the framing of the blocks
MINE = entries("mine", longest=150).filter(lambda parts: sum(len(e.text) for e in parts) < 600)


@given(MINE, entries("hostile"), entries("hostile"), entries("other"), st.randoms())
def test_namespace_within_its_share_has_all_its_callers(
    mine: list[CallerEntry],
    one: list[CallerEntry],
    another: list[CallerEntry],
    other: list[CallerEntry],
    order: random.Random,
) -> None:
    views = []
    for hostile in ([], one, another):
        parts = [*mine, *hostile, *other]
        order.shuffle(parts)
        shared = share_view(BEFORE, parts, AFTER, most=MOST, longest=LONGEST)
        assert len(shared.view) <= MOST
        assert len(gzip.decompress(shared.view)) <= LONGEST
        assert "mine" not in shared.cutoffs
        views.append(of_namespace(shared.view, "mine"))
        assert views[-1] == json.loads(b"{" + b",".join(each.text for each in mine) + b"}")
        again = share_view(BEFORE, sorted(parts, key=repr), AFTER, most=MOST, longest=LONGEST)
        assert again == shared, "the order of events counts"
    assert views[0] == views[1] == views[2]


@given(entries("a"), entries("b"))
def test_newest_callers_of_a_namespace_are_left_out_first(
    one: list[CallerEntry], two: list[CallerEntry]
) -> None:
    shared = share_view(BEFORE, [*one, *two], AFTER, most=MOST, longest=LONGEST)
    for space, parts in (("a", one), ("b", two)):
        found = of_namespace(shared.view, space)
        kept = [each for each in parts if f"spiffe://x/ns/{space}/sa/{each.name}" in found]
        assert kept == parts[: len(kept)]
        cutoff = parts[len(kept)].cutoff if len(kept) < len(parts) else None
        assert shared.cutoffs.get(space) == cutoff


def test_room_that_others_leave_free_is_used() -> None:
    parts = [entry("a", age, 100) for age in range(40)]
    shared = share_view(BEFORE, [*parts, entry("b", 0, 10)], AFTER, most=MOST, longest=LONGEST)
    assert len(shared.view) > 1600, "most of the room"


def test_cutoffs_survive_the_secret_within_a_bound() -> None:
    few = {"shop": Cutoff(NOW, "web"), "till": Cutoff(NOW, "app")}
    assert read_cutoffs(write_cutoffs(few)) == few
    many = {f"{number:060}": Cutoff(NOW, "x" * 200) for number in range(1000)}
    text = write_cutoffs(many)
    assert len(text) <= 64 * 1024
    assert len(read_cutoffs(text)) > 200
    for text in (b"", b"x", b"{}", b"[1]", b'[["a","yesterday","b"]]'):
        assert read_cutoffs(text) == {}


# In the world


def words(seed: int, number: int) -> list[str]:
    random_ = random.Random(seed)
    return sorted({f"{random_.getrandbits(256):064x}" for _ in range(number)})


def created(manifest: Manifest, seconds: int) -> Manifest:
    moment = builders.stamp(NOW + timedelta(seconds=seconds))
    return {**manifest, "metadata": {**manifest["metadata"], "creationTimestamp": moment}}


def tenant(space: str, number: int, scopes: int) -> list[Manifest]:
    """Return identities of a namespace that start transactions with random scopes."""
    return [
        created(
            identity(
                f"app-{each:03}",
                space,
                startsTransactions={"scopes": words(each + 1000, scopes), "context": []},
            ),
            each,
        )
        for each in range(number)
    ]


def shop(*manifests: Manifest) -> Cluster:
    payments = identity(
        ports=["https"], accepts=[accept("checkout", scopes=["pay"])], authentication={"token": {}}
    )
    return Cluster.of(
        *(namespace(each, domain="production") for each in ("shop", "evil")),
        domain(tokens={}),
        builders.authority_secret(),
        created(payments, 50_000),
        created(identity("checkout", calls=[call("payments", scopes=["pay"])]), 50_000),
        *manifests,
    )


@pytest.fixture
def little_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(issuer_view, "MOST", OVERHEAD + 4000)


HOSTILE = st.lists(
    st.builds(
        lambda name, account, scopes, calls, audience: created(
            identity(
                f"evil-{name}",
                "evil",
                account=account,
                ports=["https"],
                accepts=[accept(f"evil-{each}", scopes=words(each, scopes)) for each in calls]
                + [accept("checkout", namespace="shop", scopes=["pay"])],
                calls=[call(f"evil-{each}", scopes=words(each, scopes)) for each in calls]
                + [call("payments", namespace="shop", scopes=["pay"])],
                authentication={"token": {"audience": audience} if audience else {}},
                startsTransactions={"scopes": words(name, scopes), "context": ["x"]},
            ),
            name,
        ),
        st.integers(0, 9),
        st.sampled_from(["", "checkout", "payments", "shared"]),
        st.integers(1, 30),
        st.sets(st.integers(0, 9), max_size=3),
        st.sampled_from(["", "own", "spiffe://production.example/ns/shop/sa/payments"]),
    ),
    max_size=8,
    unique_by=lambda each: each["metadata"]["name"],
)


def part_of_shop(cluster: Cluster) -> dict[str, Any]:
    made = cluster.world.registry.domains["production"]
    view = compiled(gather_issuer(made, Reader(cluster.world), cluster.moment), {})
    read_grants(view)
    assert len(view) <= token_grants.MOST
    return of_namespace(view, "shop")


@given(HOSTILE, st.randoms())
def test_no_declaration_of_another_namespace_changes_what_mine_has(
    hostile: list[Manifest], order: random.Random
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(issuer_view, "MOST", OVERHEAD + 4000)
        before = part_of_shop(shop())
        assert before
        cluster = shop(*hostile)
        assert part_of_shop(cluster) == before
        order.shuffle(hostile)
        views = {
            compiled(
                gather_issuer(
                    each.world.registry.domains["production"], Reader(each.world), each.moment
                ),
                {},
            )
            for each in (cluster, shop(*hostile))
        }
        assert len(views) == 1, "the order of events counts"


@pytest.mark.usefixtures("little_room")
def test_namespace_above_its_share_is_told_and_others_are_added() -> None:
    cluster = shop(*tenant("evil", 20, 20))
    cluster.uptime += 60
    cluster.settle()
    secret = cluster.objects[TOKENS]
    found = of_namespace(decoded(secret)["view.json.gz"], "evil")
    assert 0 < len(found) < 20
    left_out = [number for number in range(20) if not any(f"app-{number:03}" in n for n in found)]
    assert left_out == list(range(len(found), 20)), "the newest"
    for number in range(20):
        status = cluster.plan(identity_key(Ref("evil", f"app-{number:03}"))).status
        assert status is not None
        told = {each["type"]: each for each in status["conditions"]}
        assert ("TokensIssued" in told) == (number in left_out)
        if number in left_out:
            assert told["TokensIssued"]["reason"] == told["Ready"]["reason"] == "ShareExceeded"
            assert "namespace evil uses more than its share" in told["TokensIssued"]["message"]
    told = cluster.condition(domain_key("production"), "TokensReady")
    assert (told["status"], told["reason"]) == ("False", "ViewTooLarge")
    assert "namespace evil, which uses more than its share," in told["message"]

    ledger = identity("ledger", startsTransactions={"scopes": ["post"], "context": []})
    affected = cluster.put(created(ledger, 60_000))
    assert affected
    cluster.uptime += 60
    cluster.settle()
    assert len(of_namespace(decoded(cluster.objects[TOKENS])["view.json.gz"], "shop")) == 3

    for number in left_out:
        cluster.drop("ServiceIdentity", Ref("evil", f"app-{number:03}"))
    cluster.uptime += 60
    cluster.settle()
    assert cluster.condition(domain_key("production"), "TokensReady")["reason"] == "Active"


@pytest.mark.usefixtures("little_room")
def test_identities_of_a_namespace_are_planned_again_when_its_part_is_cut_differently() -> None:
    cluster = shop(*tenant("evil", 20, 20))
    cluster.uptime += 60
    cluster.settle()
    stored = cluster.objects[TOKENS]
    data = {name: each for name, each in stored["data"].items() if name != "view.cutoffs.json"}
    affected = cluster.put({**stored, "data": data})
    assert {identity_key(Ref("evil", f"app-{number:03}")) for number in range(20)} <= affected
    assert identity_key(Ref("shop", "checkout")) not in affected
