"""The API server and the models refuse the same WebhookEndpoints, in the same words."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox import Sandbox
from tests.builders import Manifest
from tests.changing import changed
from tests.cluster.dry_run import Answer, DryRun
from tests.cluster.manifests import gone_wrong
from tests.webhook_builders import BASES, INBOUND, WRONG
from troth.resources.crd import custom_resource_definition
from troth.resources.kinds import KIND_BY_NAME
from troth.resources.manifests import Fault, FaultyManifests, parse_resource
from troth.resources.rules import VALIDATIONS

Judge = Callable[[Manifest], Answer]
HERE = {name: changed(base, "metadata.namespace", "default") for name, base in BASES.items()}


@pytest.fixture(scope="module")
def judge(established: Sandbox) -> Iterator[Judge]:
    with DryRun(established.kubeconfig) as connection:
        yield connection.create


def sentences(schema: Any) -> Iterator[str]:
    """Yield the sentence of every rule in a schema."""
    if isinstance(schema, dict):
        yield from (rule["message"] for rule in schema.get(VALIDATIONS, []))
        for part in schema.values():
            yield from sentences(part)


SENTENCES = {
    text
    for version in custom_resource_definition(KIND_BY_NAME["WebhookEndpoint"])["spec"]["versions"]
    for text in sentences(version["schema"]["openAPIV3Schema"])
}


def faults(manifest: Manifest) -> list[Fault]:
    try:
        parse_resource(manifest)
    except FaultyManifests as refusal:
        return refusal.faults
    return []


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


@pytest.mark.parametrize(
    ("base", "path", "value"),
    [(base, path, value) for base, path, value, *_ in WRONG],
)
def test_both_refuse_what_is_wrong_in_the_same_words(
    judge: Judge, base: str, path: str, value: Any
) -> None:
    manifest = changed(HERE[base], path, value)
    answer = judge(manifest)
    assert not answer.accepted
    agree(manifest, answer)


def test_a_source_without_a_scheme_is_told_that_an_address_is_not_an_identity(
    judge: Judge,
) -> None:
    """The sentence that this rule is for, at `kubectl apply`."""
    manifest = changed(HERE["bare"], f"{INBOUND}.source", {"cidrs": ["203.0.113.0/24"]})
    del manifest["spec"]["inbound"]["scheme"]
    told = " ".join(complaint.sentence for complaint in judge(manifest).complaints)
    assert "an address is not an identity; choose a scheme as well" in told


WORDS = st.one_of(
    st.from_regex(r"[a-z/.%?#{}~ -]{0,12}", fullmatch=True),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
)
PLACES = {
    "target.path": st.one_of(WORDS, st.lists(st.sampled_from("/.a~%"), max_size=6).map("".join)),
    "publicURL": WORDS.map(lambda text: f"https://a.example{text}"),
    "hmac.signed": st.lists(
        st.sampled_from(["{body}", "{timestamp}", "{id}", ".", "\n", "{", "}"]), max_size=6
    ).map("".join),
    "limits.body": st.from_regex(r"[0-9]{1,9}(Ki|Mi|Gi|k)?", fullmatch=True),
    "tolerance": st.sampled_from(["1s", "5m", "1h", "59m60s", "0s", "61m", "x"]),
    "replayWindow": st.sampled_from(["2s", "9m59s", "10m", "2h", "720h", "0h", "y"]),
}


@settings(max_examples=200)
@given(st.data())
def test_both_read_the_words_of_an_endpoint_alike(judge: Judge, data: st.DataObject) -> None:
    manifest = HERE["hmac"]
    for place in data.draw(st.sets(st.sampled_from(sorted(PLACES)), min_size=1, max_size=2)):
        manifest = changed(manifest, f"{INBOUND}.{place}", data.draw(PLACES[place]))
    agree(manifest, judge(manifest))


@settings(max_examples=200)
@given(gone_wrong(st.sampled_from(list(HERE.values()))))
def test_what_one_refuses_the_other_refuses(judge: Judge, manifest: Manifest) -> None:
    agree(manifest, judge(manifest))
