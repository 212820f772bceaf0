"""Only the values of a Secret that are used are decoded."""

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import builders
from tests.pki import builders as pki_builders
from troth.pki.certificates import leaf
from troth.pki.encodings.pem import read_certificates
from troth.pki.keys.private import private_key_pem
from troth.world.observation import secret_data
from troth.world.observation.objects import identity_secret
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


def test_certificate_is_parsed_once_for_its_leaf_and_its_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parsed: list[bytes] = []

    def counted(pem: bytes, *rest: Any, **options: Any) -> Any:
        parsed.append(pem)
        return read_certificates(pem, *rest, **options)

    for reader in (leaf, secret_data):
        monkeypatch.setattr(reader, "read_certificates", counted)
    issued, key = pki_builders.leaf(pki_builders.own_root()), pki_builders.key()
    secret = builders.secret("one", tls_crt=issued, tls_key=private_key_pem(key))
    found = identity_secret(secret)
    assert found.leaf is not None
    assert found.fault is None
    assert len(parsed) == 1
