"""Reviews of dead letters: the API server and the model reject the same, with one message."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders import Manifest
from tests.changed_manifests import changed
from tests.cluster.agreement import check
from tests.cluster.dry_run import DryRun
from tests.cluster.manifests import characters, gone_wrong
from tests.messaging import UNPRINTABLE
from tests.reviews import BASES, WRONG

HERE = {name: changed(base, "metadata.namespace", "default") for name, base in BASES.items()}
TEXT = st.text(characters)


@pytest.mark.parametrize("manifest", HERE.values(), ids=HERE)
def test_api_server_accepts_valid_reviews(dry_run: DryRun, manifest: Manifest) -> None:
    answer = check(manifest, dry_run)
    assert answer.accepted, answer.body


@pytest.mark.parametrize(("base", "path", "value"), [each[:3] for each in WRONG])
def test_both_reject_known_faults_with_the_same_message(
    dry_run: DryRun, base: str, path: str, value: Any
) -> None:
    assert not check(changed(HERE[base], path, value), dry_run).accepted


@settings(max_examples=300)
@given(
    st.sampled_from(
        [
            *("spec.requestedBy", "spec.approval.approvedBy", "spec.withdrawal.withdrawnBy"),
            *("spec.select.tenant", "spec.select.reason", "spec.select.ids.0", "spec.rate"),
            "spec.approval.selection",
        ]
    ),
    st.one_of(st.sampled_from(UNPRINTABLE), TEXT),
)
def test_both_accept_the_same_names(dry_run: DryRun, path: str, name: str) -> None:
    check(changed(HERE["whole"], path, name), dry_run)


TIMES = st.datetimes().map(lambda each: each.isoformat()[:26] + "Z")


@settings(max_examples=200)
@given(TIMES, TIMES)
def test_both_order_the_same_times(dry_run: DryRun, since: str, until: str) -> None:
    check(changed(HERE["bare"], "spec.select", {"since": since, "until": until}), dry_run)


@settings(max_examples=300)
@given(gone_wrong(st.sampled_from(list(HERE.values()))))
def test_both_reject_the_same_random_reviews(dry_run: DryRun, manifest: Manifest) -> None:
    check(manifest, dry_run)
