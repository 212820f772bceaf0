"""Streams of manifests: what is read, and what is wrong in which line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import Manifest, domain, identity
from troth.cli.inputs.documents import read_stream
from troth.resources.manifests import describe, dump


def manifests(text: str) -> list[Manifest]:
    """Return the objects of a stream that has no faults."""
    documents, faults = read_stream(text, "shop.yaml")
    assert not faults
    assert not any(each.faults for each in documents)
    return [each.manifest for each in documents]


def complaints(text: str) -> list[str]:
    documents, faults = read_stream(text, "shop.yaml")
    return [str(fault) for each in documents for fault in each.faults] + list(map(str, faults))


def test_documents_are_read_in_order_with_lists_in_place() -> None:
    listed: Manifest = {"apiVersion": "v1", "kind": "List", "items": [identity("b"), identity("c")]}
    text = "---\n" + "---\n".join(dump(each) for each in (identity("a"), listed, domain()))
    assert [describe(each) for each in manifests(text)] == [
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
    assert manifests(dump(manifest)) == [manifest]


def test_manifest_survives_a_round_trip() -> None:
    tricky = domain(environment="n", namespaceSelector={"matchLabels": {"on": "no", "y": "1"}})
    assert manifests(dump(tricky)) == [tricky]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: [", "shop.yaml:1: not valid YAML"),
        ("a: 1\nb: :\n  - x\n c", "shop.yaml:2: not valid YAML"),
        ("just text", "shop.yaml:1: document 1: not a Kubernetes object"),
        ("---\nkind: X\n---\n- 1", "shop.yaml:4: document 2: not a Kubernetes object"),
        ("metadata: {}", "shop.yaml:1: document 1: not a Kubernetes object"),
        ("kind: X\na: \x07", "shop.yaml:2: not valid YAML: the control character U+0007"),
        ("kind: X\na: {{ .Values.a }}", "render a template first, as in `helm template"),
        ("kind: X\na: !!python/none x", "shop.yaml:2: a: has a YAML tag (its value begins with !)"),
        ("kind: X\na: !!int x", "shop.yaml:1: not valid YAML"),
        ("kind: X\na: *bb", "found undefined alias …; put a value that begins with * in quotes"),
        ("kind: X\na: !b!c", "found undefined tag handle …; put a value that begins with !"),
        ("kind: X\na: b\n- c", "expected <block end>, but found '-'"),
        ("kind: X\na: [b", "expected ',' or ']', but got '<stream end>'"),
        ("kind: X\na: *'", 'expected alphabetic or numeric character, but found "\'"'),
        ("kind: X\n? [1]\n: 2", "shop.yaml:2: has a key that is not text"),
        ("kind: X\nb: 1\nc: 2\nb: 3", "shop.yaml:4: b: duplicate key; it is also in line 2"),
        ("kind: X\na:\n- {b: 1, b: 2}", "shop.yaml:3: a[0].b: duplicate key"),
        ("kind: X\na:\n  on: 1", "shop.yaml:3: a.on: the key 'on' reads as bool, not as text"),
        ("kind: X\na: " + 150 * "[" + 150 * "]", "nested deeper than 100 levels"),
        ("a: " + 5000 * "[", "not valid YAML: nested too deeply"),
        ("kind: X\na: &a [*a]", "nested deeper than 100 levels"),
    ],
)
def test_unreadable_text_is_reported_with_its_line(text: str, told: str) -> None:
    (complaint,) = complaints(text)
    assert told in complaint


def test_aliases_that_expand_to_a_large_document_are_rejected() -> None:
    layers = "\n".join(f"a{n}: &a{n} [{', '.join(9 * [f'*a{n - 1}'])}]" for n in range(1, 20))
    (complaint,) = complaints(f"kind: X\na0: &a0 [x]\n{layers}")
    assert "larger than 200000 values, aliases included; split the file" in complaint


def test_merged_keys_are_no_duplicates() -> None:
    text = "kind: X\na: &a {b: 1, c: 2}\nd: {<<: *a, b: 3}\n"
    assert manifests(text)[0]["d"] == {"b": 3, "c": 2}


def test_one_faulty_document_hides_no_other() -> None:
    documents, faults = read_stream("- 1\n---\nkind: A\n---\n7\n---\nkind: B\n", "shop.yaml")
    assert [each.manifest["kind"] for each in documents] == ["A", "B"]
    assert [fault.line for fault in faults] == [1, 5]


def test_line_of_a_field_is_that_of_its_key() -> None:
    text = "kind: List\nitems:\n- kind: X\n  spec:\n    ports:\n    - name: a\n    - name: b\n"
    (document,), _ = read_stream(text, "shop.yaml")
    assert document.line() == 3
    assert document.line(("spec", "ports")) == 5
    assert document.line(("spec", "ports", 1, "name")) == 7
    assert document.line(("spec", "ports", 1, "missing", "deeper")) == 7
    assert document.line(("spec", "ports", 7)) == 5


YAML = st.text(st.characters(codec="utf-8"), max_size=60) | st.text(
    "abk:{}[]&*!|>-?'\"%@`#<,. \n\t0123.eE+_~", max_size=80
)


@given(YAML)
def test_no_text_raises_an_exception(text: str) -> None:
    documents, faults = read_stream(text, "shop.yaml")
    assert all("\n" not in str(fault) for fault in faults)
    assert all(isinstance(each.manifest, dict) and each.line() >= 1 for each in documents)
