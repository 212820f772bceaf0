"""base64url and JSON reject ambiguous input."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from troth.pki.encodings import base64url, strict_json


@given(st.binary())
def test_base64url_survives_a_round_trip(value: bytes) -> None:
    text = base64url.encode(value)
    assert text == urlsafe_b64encode(value).rstrip(b"=").decode()
    assert base64url.decode(text) == value


@given(st.text() | st.text("ABQRgw048-_+/= \n", max_size=9))
def test_value_has_one_encoding_in_base64url(text: str) -> None:
    try:
        value = base64url.decode(text)
    except ValueError:
        return
    assert base64url.encode(value) == text


def test_standard_decoder_accepts_other_encodings() -> None:
    for text in ("QR", "QQ==", "QQ\n", "Q Q"):
        assert urlsafe_b64decode(text + "==") == b"A"
        with pytest.raises(ValueError, match="base64url"):
            base64url.decode(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def depth(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max((depth(part) for part in value.values()), default=0)
    if isinstance(value, list):
        return 1 + max((depth(part) for part in value), default=0)
    return 0


@given(JSON)
def test_plain_json_is_read_like_the_standard_library(value: object) -> None:
    text = json.dumps(value)
    if depth(value) <= strict_json.DEEPEST:
        assert strict_json.parse(text) == strict_json.parse(text.encode()) == value


@given(st.text('[]{}\\"', max_size=60))
def test_brackets_in_strings_do_not_count_as_nesting(text: str) -> None:
    assert strict_json.parse(json.dumps([text])) == [text]


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1, "a": 1}',
        '{"a": {"b": 1, "\\u0062": 2}}',
        "1.0",
        "1e2",
        "NaN",
        "-Infinity",
        "[1,]",
        "{'a': 1}",
        "1 2",
        "",
        "\ufeff1",
        "[" * 9 + "]" * 9,
        '{"a":' * 9 + "1" + "}" * 9,
        "[" * 100_000,
        "[" * 100_000 + "]" * 100_000,
        '"\\"' + "[" * 100_000,
        "9" * 5000,
        '"line\nbreak"',
    ],
)
def test_ambiguous_json_is_rejected(text: str) -> None:
    with pytest.raises(ValueError, match=r"^invalid or ambiguous JSON$"):
        strict_json.parse(text)


def test_bytes_that_are_not_utf8_are_rejected() -> None:
    for raw in (b'"\xff"', '{"a": 1}'.encode("utf-16"), b'"\xed\xa0\x80"'):
        with pytest.raises(ValueError, match="invalid or ambiguous JSON"):
            strict_json.parse(raw)


@pytest.mark.parametrize(
    "data", [b"1.5", b"[1e2, -0.0]", b'"\\ud83d\\ude00"', b"[[[[[[[[[9]]]]]]]]]"]
)
def test_payload_may_have_fractions_and_more_levels(data: bytes) -> None:
    assert strict_json.parse_payload(data, most=10, deepest=9) == json.loads(data)


@pytest.mark.parametrize(
    "data",
    [
        b"1e400",
        b"9" * 400,
        b"-1e999",
        b'"\\ud800"',
        b'{"\\udc00": 1}',
        b"[[[[[[[[[[9]]]]]]]]]]",
        b"NaN",
        b"1 1",
    ],
)
def test_payload_that_parsers_read_differently_is_rejected(data: bytes) -> None:
    with pytest.raises(ValueError, match="invalid or ambiguous JSON"):
        strict_json.parse_payload(data, most=10, deepest=9)


def test_commas_in_strings_are_no_values() -> None:
    assert strict_json.parse_payload(b'",,,,,,,,,,,,"', most=10, deepest=9) == "," * 12
    with pytest.raises(ValueError, match="invalid or ambiguous JSON"):
        strict_json.parse_payload(b"[1,1,1,1,1,1,1,1,1,1]", most=10, deepest=9)


@pytest.mark.parametrize("end", ["", "\\", "\\\\"])
def test_string_that_does_not_end_is_one_string(end: str) -> None:
    """If each quote were tried as a beginning, the time would be quadratic."""
    text = "[" * 65 + '"' + '\\"' * 50 + end
    assert strict_json._STRING.findall(text) == [text[65:]]
    with pytest.raises(ValueError, match="invalid or ambiguous JSON"):
        strict_json.parse_payload(text.encode(), most=10, deepest=64)
