"""`troth check` judges reviews of dead letters, by their form and by their policy."""

from typing import Any

import pytest

from tests import messaging
from tests.builders import Manifest, namespace, reference
from tests.changed_manifests import changed
from tests.cli.running import Ended, troth
from tests.reviews import dead_letter_review
from troth.resources.manifests import dump

LETTERS = {"topic": "prod.dead", "reviewer": reference("troth-review", "troth-system")}


def checked(review: Manifest, *manifests: Manifest) -> list[str]:
    """Return the findings about a review."""
    text = "---\n".join(map(dump, (namespace("shop"), *manifests, review)))
    ended: Ended = troth("check", "-f", "-", given=text.encode())
    return [each for each in ended.lines if "DeadLetterReview" in each]


def policy(**letters: Any) -> Manifest:
    return messaging.policy(deadLetter=LETTERS | letters)


def test_review_of_a_policy_with_a_reviewer_is_no_finding() -> None:
    assert checked(dead_letter_review(), policy()) == []


@pytest.mark.parametrize(
    ("manifests", "words", "reason"),
    [
        ([], "error: DeadLetterReview shop/schema-is-fixed: spec.policy: ", "PolicyMissing"),
        (
            [changed(policy(), "metadata.namespace", "web")],
            "TopicPolicy shop/orders does not exist",
            "PolicyMissing",
        ),
        ([messaging.policy()], "error: DeadLetterReview", "NoDeadLetters"),
        (
            [messaging.policy(deadLetter={"topic": "prod.dead"})],
            "spec.policy: TopicPolicy shop/orders names no deadLetter.reviewer",
            "ReviewerMissing",
        ),
    ],
)
def test_review_that_nobody_can_carry_out_is_a_finding(
    manifests: list[Manifest], words: str, reason: str
) -> None:
    (line,) = checked(dead_letter_review(), *manifests)
    assert words in line
    assert line.endswith(f"[{reason}]")


def test_own_approval_is_a_finding() -> None:
    own = dead_letter_review(approved_by="alice")
    (line,) = checked(own, policy())
    assert "nobody approves an own request" in line


def test_misspelled_field_is_a_finding_with_the_field_that_is_meant() -> None:
    wrong = changed(dead_letter_review(), "spec.requestedby", "alice")
    assert any("did you mean requestedBy?" in each for each in checked(wrong, policy()))
