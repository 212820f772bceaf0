"""The API server and the models refuse the same brokers and policies, in the same words."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox import CommandError, Sandbox
from tests.builders import Manifest
from tests.changing import changed
from tests.cluster.agreement import check
from tests.cluster.dry_run import DryRun
from tests.cluster.manifests import gone_wrong
from tests.messaging import BASES, BY_NAME, HOSTILE, WRONG
from troth.resources.manifests import dump
from troth.resources.schema.model import immutable_changes

HERE = {name: changed(base, "metadata.namespace", "default") for name, base in BASES.items()}


@pytest.mark.parametrize("manifest", HERE.values(), ids=HERE)
def test_the_api_server_takes_what_is_right(dry_run: DryRun, manifest: Manifest) -> None:
    answer = check(manifest, dry_run)
    assert answer.accepted, answer.body


def test_the_api_server_keeps_every_word_of_a_json_schema(dry_run: DryRun) -> None:
    answer = dry_run.create(HERE["tp"])
    assert answer.body["spec"]["schema"] == HERE["tp"]["spec"]["schema"]


@pytest.mark.parametrize(
    ("base", "path", "value"),
    [(base, path, value) for base, path, value, *_ in WRONG if value not in HOSTILE[1:]],
)
def test_both_refuse_what_is_wrong_in_the_same_words(
    dry_run: DryRun, base: str, path: str, value: Any
) -> None:
    assert not check(changed(HERE[base], path, value), dry_run).accepted


@settings(max_examples=300)
@given(
    st.sampled_from([("spec.topic.name", "tp"), ("spec.consumers.0.group", "tp")]),
    st.one_of(st.sampled_from(HOSTILE), st.text(st.characters(exclude_categories=["Cs"]))),
)
def test_both_take_the_same_names(dry_run: DryRun, place: tuple[str, str], name: str) -> None:
    path, base = place
    manifest = changed(HERE[base], path, name)
    check(manifest, dry_run)


@settings(max_examples=300)
@given(gone_wrong(st.sampled_from(list(HERE.values()))))
def test_what_one_refuses_the_other_refuses(dry_run: DryRun, manifest: Manifest) -> None:
    check(manifest, dry_run)


@pytest.mark.parametrize("base", ["kafka", "tp"])
def test_an_environment_refuses_another_value_with_its_sentence(
    established: Sandbox, base: str
) -> None:
    before, after = HERE[base], changed(HERE[base], "spec.environment", "other")
    established.kubectl("apply", "-f", "-", stdin=dump(before))
    try:
        with pytest.raises(CommandError) as refusal:
            established.kubectl("apply", "-f", "-", stdin=dump(after))
    finally:  # else every operator that runs here later would look for its admin's Secret
        established.kubectl("delete", "-f", "-", stdin=dump(before))
    model = BY_NAME[before["kind"]].model
    specs: list[Any] = [getattr(model.parse(each), "spec") for each in (before, after)]  # noqa: B009
    (sentence,) = immutable_changes(*specs)
    assert sentence in str(refusal.value)
