"""Selectors, compared with brute force over all sets of labels."""

from hypothesis import given
from hypothesis import strategies as st

from tests.builders import Manifest
from tests.networkpolicy import selects
from tests.oracle import LABELS
from tests.strategies import APPS, TIERS, selectors
from troth.resources.selectors import LabelSelector
from troth.trust.selectors import conjunction, includes, matches, overlap, subsumed

some_labels = st.fixed_dictionaries(
    {}, optional={"app": st.sampled_from(APPS), "tier": st.sampled_from(TIERS)}
)


def parsed(selector: Manifest) -> LabelSelector:
    return LabelSelector.model_validate(selector)


@given(selectors())
def test_selector_matches_like_kubernetes(selector: Manifest) -> None:
    for labels in LABELS:
        assert matches(parsed(selector), labels) == selects(selector, labels)


@given(selectors(), selectors())
def test_selectors_overlap_if_some_pod_matches_both(first: Manifest, second: Manifest) -> None:
    found = any(selects(first, labels) and selects(second, labels) for labels in LABELS)
    assert overlap(parsed(first), parsed(second)) == found
    assert overlap(parsed(second), parsed(first)) == found


EVERY_POD = [
    {name: value for name, value in (("app", app), ("tier", tier)) if value}
    for app in ("", *APPS, "another")
    for tier in ("", *TIERS, "another")
]


@given(selectors(), selectors())
def test_selector_includes_another_if_it_matches_all_of_its_pods(
    first: Manifest, second: Manifest
) -> None:
    found = all(selects(first, labels) for labels in EVERY_POD if selects(second, labels))
    assert includes(parsed(first), parsed(second)) == found


@given(selectors(), selectors())
def test_conjunction_selects_what_both_select(first: Manifest, second: Manifest) -> None:
    both = conjunction(parsed(first), parsed(second))
    for labels in LABELS:
        found = both is not None and matches(both, labels)
        assert found == (selects(first, labels) and selects(second, labels))


def test_conjunction_that_exceeds_the_limits_of_a_selector_is_none() -> None:
    first, second = (
        LabelSelector(match_labels={f"{each}-{number}": "x" for number in range(16)})
        for each in "ab"
    )
    assert conjunction(first, second) is None


@given(selectors(), some_labels)
def test_service_belongs_to_an_identity_only_if_it_selects_only_its_pods(
    selector: Manifest, labels: dict[str, str]
) -> None:
    """`subsumed` may miss what only several requirements together say, and never says too much."""
    if subsumed(parsed(selector), labels):
        assert labels
        for pod in LABELS:
            assert not selects(selector, pod) or labels.items() <= pod.items()


def test_service_without_a_selector_belongs_to_nobody() -> None:
    assert not subsumed(LabelSelector(match_labels={"app": "payments"}), {})


def test_requirement_with_one_value_equals_a_label() -> None:
    one = {"matchExpressions": [{"key": "app", "operator": "In", "values": ["payments"]}]}
    assert subsumed(parsed(one), {"app": "payments"})
