"""Signatures, times and IDs have one encoding each."""

import base64
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from troth.webhooks.schemes.delivery import Reason, RefusedError
from troth.webhooks.schemes.fields.encodings import from_base64, from_hex, to_base64, to_hex
from troth.webhooks.schemes.fields.identifiers import body_id, ends_once
from troth.webhooks.schemes.fields.timestamps import check_time, fresh, parse_timestamp


@given(st.binary())
def test_encoding_survives_a_round_trip(value: bytes) -> None:
    assert from_base64(to_base64(value)) == value
    assert from_hex(to_hex(value)) == value


@given(st.text(st.sampled_from("AQgw048+/=-_ \n!é"), max_size=12))
def test_base64_has_one_encoding(text: str) -> None:
    try:
        value = from_base64(text)
    except ValueError:
        return
    assert to_base64(value) == text
    assert base64.b64decode(text, validate=True) == value


@pytest.mark.parametrize(
    "text",
    [
        "QQ",  # padding is left out
        "QQ=",
        "QQ===",
        "QR==",  # bits that no byte needs
        "QUJ=",
        "QQ==QQ==",
        "Q Q==",
        "QQ==\n",
        " QQ==",
        "_-8=",  # another alphabet
        "QQ==é",
        "=",
    ],
)
def test_lenient_base64_is_rejected(text: str) -> None:
    with pytest.raises(ValueError, match="base64"):
        from_base64(text)


@pytest.mark.parametrize(
    "text", ["AB", "aB", "a", "ab c", "ab ", "a b", "0x", "gg", "\uff41\uff42", "\u0661\u0662"]
)
def test_lenient_hexadecimal_is_rejected(text: str) -> None:
    with pytest.raises(ValueError, match="hex"):
        from_hex(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "01700000000",
        "-1700000000",
        "+1700000000",
        "1700000000.0",
        "1.7e9",
        "1_700_000_000",
        " 1700000000",
        "1700000000 ",
        "1700000000\n",
        "0x6553f100",
        "\u0661" * 10,
        "1700000000²",
        "170000000000",
        "9" * 5000,
        "nan",
        "infinity",
    ],
)
def test_timestamp_must_be_plain_digits(text: str) -> None:
    with pytest.raises(RefusedError) as caught:
        parse_timestamp(text)
    assert caught.value.reason is Reason.TIMESTAMP_MALFORMED


@given(st.integers(1, 10**11 - 1))
def test_timestamp_is_parsed(seconds: int) -> None:
    assert parse_timestamp(str(seconds)) == seconds


@given(st.integers(10**6, 10**10), st.integers(1, 3600), st.floats(0.001, 10**6))
def test_time_is_fresh_up_to_and_including_the_tolerance(
    timestamp: int, tolerance: int, more: float
) -> None:
    for now in (timestamp - tolerance, timestamp, timestamp + tolerance):
        assert fresh(str(timestamp), now, tolerance) == timestamp
    with pytest.raises(RefusedError) as caught:
        check_time(timestamp, timestamp + tolerance + more, tolerance)
    assert caught.value.reason is Reason.TIMESTAMP_TOO_OLD
    with pytest.raises(RefusedError) as caught:
        check_time(timestamp, timestamp - tolerance - more, tolerance)
    assert caught.value.reason is Reason.TIMESTAMP_TOO_NEW


@pytest.mark.parametrize("after", [".", "aa", "ab", "aba"])
def test_texts_with_an_unambiguous_end_are_never_prefixes(after: str) -> None:
    texts = ["".join(each) for size in range(5) for each in product("ab.", repeat=size)]
    ended = [text + after for text in texts if ends_once(text, after)]
    assert len(ended) > 20
    assert not [
        (one, other) for one in ended for other in ended if one != other and one.startswith(other)
    ]


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b'{"id": "evt_1"}', "evt_1"),
        ('{"id": "größer"}'.encode(), "größer"),
        (b'{"id": ""}', None),
        (b'{"id": 7}', None),
        (b'{"id": null}', None),
        (b'{"id": ["evt_1"]}', None),
        (b'{"id": "a\\nb"}', None),
        (b'{"id": "\\ud800"}', None),
        (b'{"id": "%s"}' % (b"a" * 256), "a" * 256),
        (b'{"id": "%s"}' % (b"a" * 257), None),
        (b'{"data": {"id": "evt_1"}}', None),
        (b'["id"]', None),
        (b'"id"', None),
        (b"", None),
        (b"id=evt_1", None),
        (b'{"id": "evt_1"', None),
        (b'{"id": "\xff"}', None),
        (b"[" * 100_000, None),
        (b'{"id": "evt_1", "n": %s}' % (b"9" * 5000), None),
    ],
)
def test_body_id_is_a_top_level_member(body: bytes, found: str | None) -> None:
    assert body_id(body, "id") == found


@given(st.binary())
def test_any_body_has_an_id_or_none(body: bytes) -> None:
    assert body_id(body, "id") is None
