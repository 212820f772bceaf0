"""The index of letters: what it keeps, selects and counts, and what a restart leaves of it."""

import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.review.letters import NOON, POLICY, REVIEW, letter, settle, workload
from troth.resources.references import Ref, Reference
from troth.resources.reviews.dead_letter_review import Letters
from troth.review.index.portion import Portion, Settlement, Tally
from troth.review.index.store import PAGE, LetterIndex
from troth.review.letters.letter import Letter, LetterState, Position

LATER = NOON + timedelta(hours=1)
REDRIVEN, QUARANTINED = LetterState.REDRIVEN, LetterState.QUARANTINED


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "disk" / "letters.db"


@pytest.fixture
def index(path: Path) -> Iterator[LetterIndex]:
    index = LetterIndex(path)
    yield index
    index.close()


def offsets(index: LetterIndex, latest: datetime | None = LATER, /, **options: Any) -> list[int]:
    """Return the offsets of selected letters; options are those of `Letters` and of `select`."""
    own = {"quarantined", "after", "states", "identities"} & options.keys()
    chosen = {name: options.pop(name) for name in own}
    selected = index.select(POLICY, Letters(**options), latest, **chosen)
    return [each.position.offset for each in selected]


def test_letter_is_returned_as_it_was_put(index: LetterIndex) -> None:
    whole = letter(7, group=None, tenant=None, producer=None, event_id=None, redrives=2)
    index.put([whole, letter(8)])
    assert index.get(POLICY, "id-7") == whole
    assert index.get(POLICY, "id-8") == letter(8)
    assert index.get(POLICY, "id-9") is None
    assert index.get(Ref("shop", "others"), "id-7") is None


def test_selection_honours_each_of_its_properties(index: LetterIndex) -> None:
    index.put(
        [
            letter(0),
            letter(1, reason="Expired"),
            letter(2, tenant="globex"),
            letter(3, producer=workload("partner")),
            letter(4, consumer=workload("billing")),
            letter(5, time=NOON - timedelta(hours=2)),
            letter(6, producer="spiffe://elsewhere.example/x/ns/shop/sa/partner"),
        ]
    )
    assert offsets(index) == [0, 1, 2, 3, 4, 5, 6]
    assert offsets(index, reason="Expired") == [1]
    assert offsets(index, tenant="globex") == [2]
    assert offsets(index, producer=Reference(name="partner")) == [3]
    assert offsets(index, consumer=Reference(name="billing", namespace="shop")) == [4]
    assert offsets(index, consumer=Reference(name="billing", namespace="other")) == []
    assert offsets(index, since=NOON) == [0, 1, 2, 3, 4, 6]
    assert offsets(index, NOON - timedelta(hours=1)) == [5]
    assert offsets(index, None, until=NOON - timedelta(hours=1)) == [5]
    assert offsets(index, ids=("id-6", "id-2", "id-99")) == [2, 6]
    assert offsets(index, limit=3) == [0, 1, 2]
    assert offsets(index, after=Position(0, 3)) == [4, 5, 6]


def test_identity_with_a_service_account_of_another_name_is_selected(index: LetterIndex) -> None:
    index.put([letter(0), letter(1, producer=workload("checkout-account"))])
    known = {Ref("shop", "till"): [workload("checkout-account")]}
    assert offsets(index, producer=Reference(name="till"), identities=known) == [1]
    assert offsets(index, producer=Reference(name="till")) == []


def test_letters_come_in_the_order_of_their_places(index: LetterIndex) -> None:
    places = [Position(1, 0), Position(0, 5), Position(0, 3), Position(1, 7), Position(0, 4)]
    index.put(letter(n, id=f"id-{n}", position=each) for n, each in enumerate(places))
    settle(index, "id-4", QUARANTINED)
    found = index.select(POLICY, Letters(), LATER, quarantined=True)
    assert [each.position for each in found] == sorted(places)


def test_selection_reads_pages_and_sees_what_changes_meanwhile(index: LetterIndex) -> None:
    index.put(letter(number) for number in range(2 * PAGE + 1))
    selected = index.select(POLICY, Letters(limit=5000), LATER)
    first = next(selected)
    settle(index, f"id-{2 * PAGE}", REDRIVEN)
    rest = list(selected)
    assert first.position.offset == 0
    assert [each.position.offset for each in rest] == list(range(1, 2 * PAGE))


def test_settled_letter_is_not_selected_again(index: LetterIndex) -> None:
    index.put([letter(0), letter(1)])
    settle(index, "id-0", REDRIVEN)
    assert offsets(index) == [1]
    found = index.get(POLICY, "id-0")
    assert found is not None
    assert (found.state, found.review) == (REDRIVEN, REVIEW)
    assert offsets(index, states=(REDRIVEN,)) == [0]


def test_tenant_is_found_without_reading_the_letters_of_others(index: LetterIndex) -> None:
    index.put([letter(0), letter(1, tenant="globex")])
    assert offsets(index, tenant="globex") == [1]
    plan = index._read(
        "EXPLAIN QUERY PLAN SELECT id FROM letters WHERE policy = ? AND state = ? "
        "AND (partition, offset) > (?, ?) AND tenant = ? AND time <= ? "
        "ORDER BY partition, offset LIMIT ?",
        (1, "Pending", -1, -1, "globex", 0, PAGE),
    )
    (step,) = [each[3] for each in plan]
    assert step.startswith("SEARCH letters USING INDEX letters_by_tenant (policy=? AND state=? AND")


def test_first_decision_counts(index: LetterIndex) -> None:
    index.put([letter(0)])
    settle(index, "id-0", REDRIVEN)
    other = Ref("shop", "another")
    settle(index, "id-0", LetterState.DISCARDED, other, LATER)
    settle(index, "id-0", QUARANTINED, other, LATER)
    assert index.get(POLICY, "id-0") == letter(0, state=REDRIVEN, review=REVIEW)


def test_quarantined_letter_may_be_settled_later(index: LetterIndex) -> None:
    index.put([letter(0)])
    settle(index, "id-0", QUARANTINED)
    settle(index, "id-0", QUARANTINED, Ref("shop", "another"))
    assert index.get(POLICY, "id-0") == letter(0, state=QUARANTINED, review=REVIEW)
    assert offsets(index) == []
    assert offsets(index, quarantined=True) == [0]
    settle(index, "id-0", LetterState.DISCARDED)
    assert offsets(index, quarantined=True) == []


def test_decision_that_comes_before_its_letter_waits_for_it(index: LetterIndex) -> None:
    """With several partitions, a record may be read before the letter that it is about."""
    settle(index, "id-0", QUARANTINED)
    settle(index, "id-0", REDRIVEN)
    settle(index, "id-0", LetterState.DISCARDED)
    index.put([letter(0), letter(1)])
    assert index.get(POLICY, "id-0") == letter(0, state=REDRIVEN, review=REVIEW)
    assert offsets(index) == [1]


def test_copy_of_a_letter_changes_nothing(index: LetterIndex) -> None:
    index.put([letter(0), letter(1)])
    settle(index, "id-1", REDRIVEN)
    index.put([letter(0, position=Position(0, 9)), letter(1, position=Position(0, 8))])
    assert index.get(POLICY, "id-0") == letter(0)
    assert index.get(POLICY, "id-1") == letter(1, state=REDRIVEN, review=REVIEW)
    assert index.counts(POLICY).pending == 1


def selected(index: LetterIndex, uid: str = "uid-1", **options: Any) -> list[int]:
    """Return the offsets of the letters that a review selected at noon."""
    chosen = {"ends": options.pop("ends")} if "ends" in options else {}
    found = index.selected(POLICY, Letters(**options), LATER, at=NOON, uid=uid, **chosen)
    return [each.position.offset for each in found]


def test_copy_of_a_letter_puts_no_other_into_a_selection(index: LetterIndex) -> None:
    index.put(letter(number) for number in range(6))
    index.put([letter(1, position=Position(0, 9))])
    assert selected(index, limit=3) == [0, 1, 2]


def test_letters_behind_the_ends_of_a_selection_are_not_in_it(index: LetterIndex) -> None:
    index.put(letter(number, position=Position(1, number)) for number in range(3))
    index.put([letter(7), letter(8, position=Position(1, 3)), letter(9, position=Position(2, 0))])
    assert selected(index, limit=4, ends={1: 3}) == [0, 1, 2]


def test_work_of_a_review_that_had_the_same_name_is_not_selected(index: LetterIndex) -> None:
    index.put(letter(number) for number in range(4))
    before = NOON - timedelta(hours=1)
    settle(index, "id-0", REDRIVEN, at=before, uid="uid-0")
    settle(index, "id-1", REDRIVEN, at=before, uid="uid-1")
    settle(index, "id-9", REDRIVEN, at=before, uid="uid-1")
    index.put([letter(9)])
    assert selected(index, "uid-2") == [2, 3]
    assert selected(index, "uid-1") == [1, 2, 3, 9]
    found = index.get(POLICY, "id-9")
    assert found is not None
    assert found.review_uid == "uid-1"


@pytest.mark.parametrize("changed", [{"digest": "other"}, {"consumer": workload("billing")}])
def test_other_letter_with_a_known_id_changes_nothing(
    index: LetterIndex, changed: dict[str, Any]
) -> None:
    index.put([letter(0)])
    index.put([letter(0, position=Position(0, 9), **changed)])
    assert index.get(POLICY, "id-0") == letter(0)


def test_offset_that_is_used_again_has_the_newer_letter(index: LetterIndex) -> None:
    index.put([letter(0)])
    index.put([letter(1, position=Position(0, 0))])
    assert index.get(POLICY, "id-0") is None
    assert offsets(index) == [0]


def test_letters_below_the_first_offset_are_gone(index: LetterIndex) -> None:
    index.put([letter(0), letter(1), letter(2), letter(3), letter(9, position=Position(1, 0))])
    settle(index, "id-0", REDRIVEN)
    settle(index, "id-1", QUARANTINED)
    places = [Position(0, 4), Position(0, 8)]
    index.feed(POLICY, Portion(unreadable=places))
    index.mark_gone(POLICY, 0, 3)
    index.mark_gone(POLICY, 0, 5)
    states = [found.state for n in range(4) if (found := index.get(POLICY, f"id-{n}"))]
    gone = LetterState.GONE
    assert states == [REDRIVEN, gone, gone, gone]
    assert [each.id for each in index.select(POLICY, Letters(), LATER)] == ["id-9"]
    assert index.counts(POLICY).unreadable == 1


def test_letter_that_compaction_removed_is_gone(index: LetterIndex) -> None:
    index.put([letter(0), letter(1)])
    index.mark_missing(letter(0))
    index.mark_missing(letter(1, position=Position(0, 0)))
    assert offsets(index) == [1]


def test_gone_letter_that_is_published_again_is_pending(index: LetterIndex) -> None:
    index.put([letter(0)])
    index.mark_gone(POLICY, 0, 5)
    index.put([letter(0, position=Position(0, 7))])
    assert offsets(index) == [7]
    index.sweep(POLICY, LATER + timedelta(days=3650))
    assert offsets(index) == [7]


def test_old_decisions_leave_the_index(index: LetterIndex) -> None:
    index.put(letter(number) for number in range(5))
    old = NOON - timedelta(days=91)
    settle(index, "id-0", REDRIVEN, at=old)
    settle(index, "id-1", REDRIVEN)
    settle(index, "id-2", QUARANTINED, at=old)
    settle(index, "unknown", REDRIVEN, at=old)
    index.sweep(POLICY, NOON - timedelta(days=90))
    left = [each.id for n in range(5) if (each := index.get(POLICY, f"id-{n}"))]
    assert left == ["id-1", "id-2", "id-3", "id-4"]
    index.put([letter(6, id="unknown")])
    assert offsets(index) == [3, 4, 6]


def test_counts_say_what_awaits_a_decision(index: LetterIndex) -> None:
    oldest = NOON - timedelta(hours=5)
    index.put(
        [
            letter(0, time=oldest - timedelta(hours=1)),
            letter(1, time=oldest),
            letter(2, reason="Expired"),
            letter(3),
            letter(4, policy=Ref("shop", "others")),
        ]
    )
    settle(index, "id-0", REDRIVEN)
    settle(index, "id-3", QUARANTINED)
    index.feed(POLICY, Portion(unreadable=[Position(0, 5), Position(0, 6)]))
    found = index.counts(POLICY)
    assert (found.pending, found.quarantined, found.unreadable) == (2, 1, 2)
    assert found.oldest == oldest
    assert [(each.reason, each.count) for each in found.reasons] == [
        ("Expired", 1),
        ("SchemaInvalid", 1),
    ]
    assert index.counts(Ref("shop", "unknown")).pending == 0
    assert Tally(Ref("shop", "others"), "Pending", "SchemaInvalid", 1) in index.tallies()


def test_portion_is_kept_across_a_restart(path: Path) -> None:
    index = LetterIndex(path)
    settled = Settlement("id-0", REDRIVEN, REVIEW, NOON)
    unreadable = [Position(1, 1)]
    portion = Portion([letter(0), letter(1)], [settled], unreadable, {0: 2, 1: 2})
    index.feed(POLICY, portion)
    index.feed(POLICY, portion)
    index.set_incarnation(POLICY, "first")
    index.close()
    again = LetterIndex(path)
    assert again.positions(POLICY) == {0: 2, 1: 2}
    assert again.incarnation(POLICY) == "first"
    assert offsets(again) == [1]
    assert again.counts(POLICY).unreadable == 1
    again.close()


def test_portion_that_fails_leaves_nothing(index: LetterIndex) -> None:
    broken = replace(letter(1), consumer=None)  # type: ignore[arg-type]
    with pytest.raises(sqlite3.IntegrityError):
        index.feed(POLICY, Portion([letter(0), broken], next={0: 2}))
    assert index.positions(POLICY) == {}
    assert index.get(POLICY, "id-0") is None
    index.put([letter(0)])
    assert offsets(index) == [0]


def test_forgotten_policy_leaves_nothing(index: LetterIndex) -> None:
    other = Ref("shop", "others")
    index.feed(POLICY, Portion([letter(0)], unreadable=[Position(0, 1)], next={0: 2}))
    settle(index, "id-9", REDRIVEN)
    index.put([letter(1, policy=other)])
    index.set_incarnation(POLICY, "first")
    index.forget(POLICY)
    index.forget(Ref("shop", "unknown"))
    assert index.positions(POLICY) == {}
    assert index.incarnation(POLICY) is None
    assert (index.counts(POLICY).pending, index.counts(POLICY).unreadable) == (0, 0)
    assert [each.policy for each in index.tallies()] == [other]
    index.put([letter(9)])
    assert offsets(index) == [9]


def test_forgetting_goes_on_after_a_crash(path: Path) -> None:
    index = LetterIndex(path)
    index.put([letter(0)])
    with index._transaction():
        index._db.execute("DELETE FROM policies")
    index.close()
    again = LetterIndex(path)
    assert again._read("SELECT count(*) FROM letters", ()) == [(0,)]
    again.close()


@pytest.mark.parametrize("content", [b"not a database" * 500, b""])
def test_unusable_file_is_replaced(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    index = LetterIndex(path)
    index.put([letter(0)])
    assert offsets(index) == [0]
    index.close()


def test_file_of_another_version_is_replaced(path: Path) -> None:
    index = LetterIndex(path)
    index.put([letter(0)])
    index._db.execute("PRAGMA user_version = 99")
    index.close()
    again = LetterIndex(path)
    assert offsets(again) == []
    again.close()


def test_readers_do_not_wait_for_a_write(index: LetterIndex) -> None:
    index.put([letter(0)])
    found: list[Letter | None] = []
    with index._transaction():
        thread = threading.Thread(target=lambda: found.append(index.get(POLICY, "id-0")))
        thread.start()
        thread.join()
    assert found == [letter(0)]


HOSTILE = ["'; DROP TABLE letters; --", "\x00", "%", "_", "\u202e", "é" * 200, '"']


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_are_values_alone(index: LetterIndex, text: str) -> None:
    hostile = letter(0, id=text, tenant=text, origin=text, event_id=text)
    index.put([hostile, letter(1)])
    assert index.get(POLICY, text) == hostile
    assert [each.id for each in index.select(POLICY, Letters(), LATER)] == [text, "id-1"]
