"""The API server and the models refuse the same brokers and policies, in the same words."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox import CommandError, Sandbox
from tests.builders import Manifest
from tests.changing import changed
from tests.cluster.dry_run import Answer, DryRun
from tests.cluster.manifests import gone_wrong
from tests.messaging import BASES, BY_NAME, HOSTILE, WRONG, faults
from troth.resources.crd import custom_resource_definition
from troth.resources.manifests import dump
from troth.resources.model import immutable_changes
from troth.resources.rules import VALIDATIONS

Judge = Callable[[Manifest], Answer]
HERE = {name: changed(base, "metadata.namespace", "default") for name, base in BASES.items()}


@pytest.fixture(scope="module")
def judge(established: Sandbox) -> Iterator[Judge]:
    with DryRun(established.kubeconfig) as connection:
        yield lambda manifest: connection.create(manifest, BY_NAME[manifest["kind"]])


def sentences(schema: Any) -> Iterator[str]:
    """Yield the sentence of every rule in a schema."""
    if isinstance(schema, dict):
        yield from (rule["message"] for rule in schema.get(VALIDATIONS, []))
        for part in schema.values():
            yield from sentences(part)


SENTENCES = {
    text
    for kind in BY_NAME.values()
    for version in custom_resource_definition(kind)["spec"]["versions"]
    for text in sentences(version["schema"]["openAPIV3Schema"])
}


def agree(manifest: Manifest, answer: Answer) -> None:
    """Both take it or both refuse it; and where rules decide alone, by the same ones."""
    told = [complaint.sentence for complaint in answer.complaints]
    found = faults(manifest)
    assert answer.accepted == (not found), (told, found)
    assert not any("evaluating rule" in sentence for sentence in told), told
    # it has its own words for what the schema refuses, and for metadata
    decided = all(fault.sentence in SENTENCES and fault.field[:8] != "metadata" for fault in found)
    if decided and not answer.unchecked:
        for fault in found:
            assert any(each.endswith(fault.sentence) for each in told), (fault, told)


@pytest.mark.parametrize("manifest", HERE.values(), ids=HERE)
def test_the_api_server_takes_what_is_right(judge: Judge, manifest: Manifest) -> None:
    answer = judge(manifest)
    assert answer.accepted, answer.body
    agree(manifest, answer)


def test_the_api_server_keeps_every_word_of_a_json_schema(judge: Judge) -> None:
    answer = judge(HERE["tp"])
    assert answer.body["spec"]["schema"] == HERE["tp"]["spec"]["schema"]


@pytest.mark.parametrize(
    ("base", "path", "value"),
    [(base, path, value) for base, path, value, *_ in WRONG if value not in HOSTILE[1:]],
)
def test_both_refuse_what_is_wrong_in_the_same_words(
    judge: Judge, base: str, path: str, value: Any
) -> None:
    manifest = changed(HERE[base], path, value)
    answer = judge(manifest)
    assert not answer.accepted
    agree(manifest, answer)


@settings(max_examples=300)
@given(
    st.sampled_from([("spec.topic.name", "tp"), ("spec.consumers.0.group", "tp")]),
    st.one_of(st.sampled_from(HOSTILE), st.text(st.characters(exclude_categories=["Cs"]))),
)
def test_both_take_the_same_names(judge: Judge, place: tuple[str, str], name: str) -> None:
    path, base = place
    manifest = changed(HERE[base], path, name)
    agree(manifest, judge(manifest))


@settings(max_examples=300)
@given(gone_wrong(st.sampled_from(list(HERE.values()))))
def test_what_one_refuses_the_other_refuses(judge: Judge, manifest: Manifest) -> None:
    agree(manifest, judge(manifest))


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
