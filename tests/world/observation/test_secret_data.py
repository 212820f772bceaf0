"""Only the values of a Secret that are used are decoded."""

import base64

from hypothesis import given
from hypothesis import strategies as st

from tests import builders
from troth.world.observation.secret_data import MOST_ENTRIES, SecretData


@given(st.binary(max_size=40), st.none() | st.integers(0, 30))
def test_value_is_whole_or_longer_than_the_limit(value: bytes, most: int | None) -> None:
    read = SecretData(builders.secret("one", key=value)).get("key", most)
    assert read is not None
    assert value.startswith(read)
    if most is None or len(value) <= most:
        assert read == value
    else:
        assert most < len(read) <= most + 3


def test_missing_or_invalid_value_is_none() -> None:
    data = SecretData({"data": {"bad": "%", "number": 1}})
    assert [data.get(name) for name in ("bad", "number", "missing")] == [None, None, None]
    assert data.value("bad") == b""
    assert dict(data.items()) == {}


def test_unused_values_are_not_decoded() -> None:
    """A value that is no base64 anywhere behind its first bytes shows where decoding ends."""
    text = base64.b64encode(b"x" * 300).decode() + "%"
    assert SecretData({"data": {"key": text}}).get("key", 30) == b"x" * 33
    assert SecretData({"data": {"key": text}}).get("key") is None


def test_entries_are_counted_before_any_is_decoded() -> None:
    for count in (0, MOST_ENTRIES, MOST_ENTRIES + 1):
        data = SecretData({"data": {str(number): "" for number in range(count)}})
        assert (len(data), data.has_too_many) == (count, count > MOST_ENTRIES)
