"""Requests are counted by verb and resource."""

from collections import Counter

from benchmarks.fleet.budgets import bears
from benchmarks.harness.requests import asked, samples, writes

TROTH = """\
# HELP troth_api_requests_total Requests to the API server.
# TYPE troth_api_requests_total counter
troth_api_requests_total{code="200",resource="secrets",verb="list"} 5.0
troth_api_requests_total{code="200",resource="secrets",verb="apply"} 2.0
troth_api_requests_total{code="409",resource="secrets",verb="apply"} 1.0
troth_api_requests_created{code="200",resource="secrets",verb="list"} 1.7e+09
troth_queue_depth 3.0
troth_queue_depth_most 9.0
"""


def test_rejected_requests_count() -> None:
    assert asked(TROTH) == Counter({("list", "secrets"): 5, ("apply", "secrets"): 3})


def test_metrics_with_the_same_prefix_are_kept_apart() -> None:
    assert [sample.value for sample in samples(TROTH, "troth_queue_depth")] == [3.0]


def test_reads_and_excluded_resources_are_not_writes() -> None:
    requests = Counter(
        {
            ("list", "secrets"): 5,
            ("watch", "secrets"): 1,
            ("get", "leases"): 1,
            ("update", "leases"): 20,
            ("apply", "secrets"): 2,
            ("create", "events"): 3,
            ("patch", "serviceidentities"): 4,
        }
    )
    assert writes(requests) == 9
    assert writes(requests, but=("leases", "events")) == 6


def test_patch_matches_only_if_all_its_values_are_present() -> None:
    patch = {"metadata": {"labels": {"a": "x", "b": None}}}
    assert bears({"metadata": {"labels": {"a": "x", "c": "y"}}}, patch)
    assert not bears({"metadata": {"labels": {"a": "x", "b": "y"}}}, patch)
    assert not bears({"metadata": {"labels": {"a": "y"}}}, patch)
    assert not bears({"metadata": {}}, patch)
