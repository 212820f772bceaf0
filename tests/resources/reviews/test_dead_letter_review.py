"""Invalid fields of reviews are rejected with what to write.

Whether the API server says the same is tested in `tests/cluster/reviews/test_agreement.py`.
"""

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.builders import Manifest
from tests.changed_manifests import changed
from tests.refusals import faults
from tests.resources.test_messaging_fields import rules_in
from tests.reviews import BASES, WRONG, dead_letter_review
from troth.resources.kinds import EVERY_KIND_BY_NAME
from troth.resources.references import Ref
from troth.resources.reviews.dead_letter_review import DeadLetterReview
from troth.resources.reviews.dead_letter_review_status import ReviewPhase
from troth.resources.schema.model import immutable_changes


@pytest.mark.parametrize("manifest", BASES.values(), ids=BASES)
def test_valid_review_is_accepted_and_survives_a_round_trip(manifest: Manifest) -> None:
    assert faults(manifest) == []
    once = DeadLetterReview.parse(manifest)
    assert DeadLetterReview.parse(once.manifest()) == once


@pytest.mark.parametrize(
    ("base", "path", "value", "where", "words"),
    WRONG,
    ids=[f"{number}-{base}-{path}" for number, (base, path, *_) in enumerate(WRONG)],
)
def test_invalid_field_is_reported_with_place_and_fix(
    base: str, path: str, value: Any, where: str, words: str
) -> None:
    found = faults(changed(BASES[base], path, value))
    told = [fault for fault in found if words in fault.sentence]
    assert told, [str(fault) for fault in found]
    if where:
        assert told[0].field == where


def test_every_rule_has_its_case() -> None:
    told = {
        fault.sentence
        for base, path, value, _, _ in WRONG
        for fault in faults(changed(BASES[base], path, value))
    }
    assert rules_in(EVERY_KIND_BY_NAME["DeadLetterReview"]) - told == set()


def test_review_of_another_policy_is_another_review() -> None:
    before = DeadLetterReview.parse(dead_letter_review()).spec
    after = DeadLetterReview.parse(dead_letter_review(policy="payments")).spec
    (sentence,) = immutable_changes(before, after)
    assert sentence == "policy cannot change; create a new DeadLetterReview instead"


def test_review_selects_no_letter_that_is_younger_than_itself() -> None:
    created = datetime(2026, 11, 24, 12, tzinfo=UTC)

    def until(text: str) -> datetime:
        return DeadLetterReview.parse(dead_letter_review(select={"until": text})).until(created)

    assert DeadLetterReview.parse(dead_letter_review()).until(created) == created
    assert until("2026-11-24T11:00:00Z") == datetime(2026, 11, 24, 11, tzinfo=UTC)
    assert until("2026-11-24T13:00:00Z") == created


def test_review_may_have_a_long_name_and_names_a_policy_of_its_namespace() -> None:
    """Troth derives no name from it."""
    review = DeadLetterReview.parse(dead_letter_review("a" * 253))
    assert review.policy == Ref("shop", "orders")
    assert review.ref == Ref("shop", "a" * 253)


def test_new_review_is_pending_and_three_phases_end_it() -> None:
    assert DeadLetterReview.parse(dead_letter_review()).status.phase is ReviewPhase.PENDING
    ended = {"Completed", "Withdrawn", "Refused"}
    assert {each.value for each in ReviewPhase if each.ended} == ended
