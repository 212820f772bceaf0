"""Manifests: streams, lists, and faults with their places."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import Manifest, domain, identity
from troth.resources.manifests import (
    FaultyManifests,
    describe,
    documents,
    dump,
    is_ours,
    parse_resource,
)


def test_documents_are_read_in_order_with_lists_in_place() -> None:
    listed: Manifest = {"apiVersion": "v1", "kind": "List", "items": [identity("b"), identity("c")]}
    text = "---\n" + "---\n".join(dump(each) for each in (identity("a"), listed, domain()))
    assert [describe(each) for each in documents(text, "shop.yaml")] == [
        "ServiceIdentity shop/a",
        "ServiceIdentity shop/b",
        "ServiceIdentity shop/c",
        "TrustDomain production",
    ]


words = st.one_of(
    st.sampled_from(["n", "y", "on", "off", "1e3", "1:30", "0x1", "~", "null", "", "2026-11-24"]),
    st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), max_size=6),
)


@given(st.dictionaries(words, words, max_size=4))
def test_any_text_survives_a_round_trip(labels: dict[str, str]) -> None:
    manifest = {"kind": "X", "metadata": {"labels": labels}}
    assert list(documents(dump(manifest), "")) == [manifest]


def test_manifest_survives_a_round_trip() -> None:
    tricky = domain(environment="n", namespaceSelector={"matchLabels": {"on": "no", "y": "1"}})
    assert list(documents(dump(tricky), "")) == [tricky]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: [", "shop.yaml: line 1: not valid YAML"),
        ("a: 1\nb: :\n  - x\n c", "not valid YAML"),
        ("just text", "shop.yaml: document 1: not a Kubernetes object"),
        ("---\nkind: X\n---\n- 1", "shop.yaml: document 2: not a Kubernetes object"),
        ("metadata: {}", "shop.yaml: document 1: not a Kubernetes object"),
    ],
)
def test_invalid_file_is_reported_with_its_place(text: str, told: str) -> None:
    with pytest.raises(FaultyManifests) as refusal:
        list(documents(text, "shop.yaml"))
    assert told in str(refusal.value)


def test_fault_names_file_object_field_and_fix() -> None:
    wrong = identity(ports=["HTTPS"], unheardOf=1)
    with pytest.raises(FaultyManifests) as refusal:
        parse_resource(wrong, "shop.yaml")
    here = "shop.yaml: ServiceIdentity shop/payments: "
    unknown, misspelt = sorted(str(fault) for fault in refusal.value.faults)
    assert unknown == here + "spec.unheardOf: unknown field; remove it or correct its spelling"
    assert misspelt.startswith(here + "spec.workload.ports[0].name: write a port name: up to 15")


def test_unknown_kind_is_reported_with_the_known_ones() -> None:
    with pytest.raises(FaultyManifests, match="unknown; write one of TrustDomain, ServiceIdentity"):
        parse_resource({**domain(), "kind": "TrustDomaine"})


def test_only_resources_of_the_api_group_are_troths() -> None:
    assert is_ours(domain())
    assert not is_ours({"apiVersion": "v1", "kind": "Service"})
    assert not is_ours({"apiVersion": "other.troth.dev/v1", "kind": "TrustDomain"})
