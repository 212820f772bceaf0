"""Blockers fit into a status."""

from troth.resources.rotation.blockers import LONGEST_BLOCKER, MOST_BLOCKERS, fitting
from troth.resources.rotation.spec import CredentialRotationStatus


def test_blockers_are_cut_to_the_limits_of_a_status() -> None:
    kept = fitting([f"{number}: {'x' * 2 * LONGEST_BLOCKER}" for number in range(20)])
    status = CredentialRotationStatus(blockers=kept)
    assert len(status.blockers) == MOST_BLOCKERS
    assert {len(each) for each in kept} == {LONGEST_BLOCKER}
    assert kept[0].startswith("0: ")


def test_fitting_blockers_are_complete() -> None:
    assert fitting(["wait for shop", "wait for stock"]) == ("wait for shop", "wait for stock")
