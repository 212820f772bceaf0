"""Brokers and policies: the API server and the models reject the same ones, with one message."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox import CommandError, Sandbox
from tests.builders import Manifest
from tests.changed_manifests import changed
from tests.cluster.agreement import check
from tests.cluster.dry_run import DryRun
from tests.cluster.manifests import characters, gone_wrong
from tests.messaging import BASES, BY_NAME, HOSTILE, WRONG
from troth.resources.manifests import dump
from troth.resources.schema.model import immutable_changes

HERE = {name: changed(base, "metadata.namespace", "default") for name, base in BASES.items()}


@pytest.mark.parametrize("manifest", HERE.values(), ids=HERE)
def test_api_server_accepts_valid_manifests(dry_run: DryRun, manifest: Manifest) -> None:
    answer = check(manifest, dry_run)
    assert answer.accepted, answer.body


def test_api_server_keeps_a_json_schema_unchanged(dry_run: DryRun) -> None:
    answer = dry_run.create(HERE["tp"])
    assert answer.body["spec"]["schema"] == HERE["tp"]["spec"]["schema"]


@pytest.mark.parametrize(
    ("base", "path", "value"),
    [(base, path, value) for base, path, value, *_ in WRONG if value not in HOSTILE[1:]],
)
def test_both_reject_known_faults_with_the_same_message(
    dry_run: DryRun, base: str, path: str, value: Any
) -> None:
    assert not check(changed(HERE[base], path, value), dry_run).accepted


@settings(max_examples=300)
@given(
    st.sampled_from([("spec.topic.name", "tp"), ("spec.consumers.0.group", "tp")]),
    st.one_of(st.sampled_from(HOSTILE), st.text(characters)),
)
def test_both_accept_the_same_names(dry_run: DryRun, place: tuple[str, str], name: str) -> None:
    path, base = place
    manifest = changed(HERE[base], path, name)
    check(manifest, dry_run)


@settings(max_examples=300)
@given(gone_wrong(st.sampled_from(list(HERE.values()))))
def test_both_reject_the_same_random_manifests(dry_run: DryRun, manifest: Manifest) -> None:
    check(manifest, dry_run)


@pytest.mark.parametrize("base", ["kafka", "tp"])
def test_environment_is_immutable_and_the_message_says_so(established: Sandbox, base: str) -> None:
    before, after = HERE[base], changed(HERE[base], "spec.environment", "other")
    established.kubectl("apply", "-f", "-", stdin=dump(before))
    try:
        with pytest.raises(CommandError) as refusal:
            established.kubectl("apply", "-f", "-", stdin=dump(after))
    finally:  # otherwise every later operator here would look for its admin Secret
        established.kubectl("delete", "-f", "-", stdin=dump(before))
    model = BY_NAME[before["kind"]].model
    specs: list[Any] = [getattr(model.parse(each), "spec") for each in (before, after)]  # noqa: B009
    (sentence,) = immutable_changes(*specs)
    assert sentence in str(refusal.value)
