"""Validation of data in JSON: strict parsing, faults without contents, bounded cost."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema_rs import validator_for

from troth.edge.events.schemas.compiled import compile as compiled
from troth.edge.events.schemas.validator import DEEPEST, MOST_BYTES, MOST_VALUES, Checked

ORDER = {
    "type": "object",
    "required": ["id"],
    "properties": {
        "id": {"type": "string", "pattern": "^o-[0-9]+$"},
        "lines": {"type": "array", "items": {"type": "object", "required": ["sku"]}},
        "total": {"type": "number"},
    },
    "additionalProperties": {"type": "integer"},
}
SECRET = "a-secret-of-the-sender"


def check(data: bytes | str, schema: Any = ORDER) -> Checked:
    raw = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    return compiled("JSONSchema", json.dumps(schema)).check(raw)


def fault(data: bytes | str, schema: Any = ORDER) -> str:
    found = check(data, schema)
    assert found.payload is None
    assert found.fault is not None
    return found.fault


def test_valid_data_is_returned_parsed() -> None:
    assert check('{"id": "o-7", "total": 1.5e2}') == Checked({"id": "o-7", "total": 150.0})


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({}, "at /: the data does not satisfy required"),
        ({"id": SECRET}, "at /id: the data does not satisfy pattern"),
        ({"id": "o-7", "lines": [{"sku": 1}, {}]}, "at /lines/1: the data does not satisfy requi"),
        ({"id": "o-7", SECRET: SECRET}, "at /*: the data does not satisfy type"),
    ],
)
def test_fault_names_place_and_keyword_and_quotes_nothing(data: Any, words: str) -> None:
    found = fault(json.dumps(data))
    assert words in found
    assert SECRET not in found


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"{} {}",
        b"\xef\xbb\xbf{}",
        b'{"a": "\xff"}',
        '{"a": "\ud800"}',
        '{"a": "\\ud800"}',
        '{"\\udfff": 1}',
        '{"a": 1, "a": 1}',
        '{"a": 1, "\\u0061": 1}',
        '{"a": NaN}',
        '{"a": -Infinity}',
        '{"a": 1e400}',
        '{"a": ' + "1" * 400 + ".0}",
        '{"a": ' + "1" * 5000 + "}",
        "'a'",
        "[1,]",
        "01",
    ],
)
def test_ambiguous_json_is_rejected(data: bytes | str) -> None:
    assert "is not JSON that every parser reads alike" in fault(data, {})


def test_escaped_pair_of_surrogates_is_accepted() -> None:
    assert check('"\\ud83d\\ude00"', {}) == Checked("\N{GRINNING FACE}")


def test_depth_is_bounded() -> None:
    assert check("[" * DEEPEST + "]" * DEEPEST, {}).fault is None
    assert fault("[" * (DEEPEST + 1) + "]" * (DEEPEST + 1), {})
    assert fault("[" * 1_000_000, {})
    assert fault('{"a":' * 300_000, {})


def test_size_is_bounded() -> None:
    assert check('"' + "a" * (MOST_BYTES - 2) + '"', {}).fault is None
    assert "larger than 4 MiB" in fault('"' + "a" * (MOST_BYTES - 1) + '"', {})
    assert "larger than 4 MiB" in fault(b"[" * 10_000_000, {})
    assert check("[" + "1," * (MOST_VALUES - 2) + "1]", {}).fault is None
    assert fault("[" + "1," * MOST_VALUES + "1]", {})
    assert fault('""' * 1_000_000, {})


@pytest.mark.parametrize("empty", ["[]", "{}"])
def test_empty_array_or_object_counts_as_two_values(empty: str) -> None:
    most = (MOST_VALUES - 1) // 2
    assert check("[" + f"{empty}," * (most - 1) + f"{empty}]", {}).fault is None
    assert fault("[" + f"{empty}," * most + f"{empty}]", {})


@given(st.binary(max_size=200))
def test_any_bytes_give_a_payload_or_a_fault(data: bytes) -> None:
    found = check(data)
    assert (found.fault is None) is (found.payload is not None)


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5).filter(lambda text: text.isprintable()),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["id", "lines", "total", "other"]), inner, max_size=4)
    ),
    max_leaves=10,
)


@given(values | st.dictionaries(st.sampled_from(["id", "lines", "total"]), values))
def test_verdict_is_that_of_the_bare_validator(value: Any) -> None:
    found = check(json.dumps(value))
    assert (found.fault is None) is validator_for(ORDER).is_valid(value)
    if found.fault is None:
        assert found.payload == value
