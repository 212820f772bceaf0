"""The seal has the specified bytes, and one form."""

import hashlib
import json
from base64 import b64decode, b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from troth.edge.events.attributes import CORE, DEAD_LETTER, SIGNED
from troth.edge.events.seal import envelope

KEY_ID = "k" * 43
NAMES = (*CORE, *DEAD_LETTER)
EXPECTED = envelope.material({}, b"")


def digest(value: bytes) -> bytes:
    return hashlib.sha256(value).digest()


def specified(attributes: dict[str, str], data: bytes, signed: tuple[str, ...]) -> bytes:
    """The payload as docs/events.md specifies it."""
    core = b"".join(digest(attributes.get(name, "").encode()) for name in CORE) + digest(data)
    ext = b"".join(digest(attributes.get(name, "").encode()) for name in signed)
    members = {
        "core": b64encode(digest(core)).decode(),
        "ext": b64encode(digest(ext)).decode(),
        "signedextattrs": list(signed),
    }
    return json.dumps(members, separators=(",", ":")).encode()


@pytest.mark.parametrize("signed", [SIGNED, DEAD_LETTER, (*SIGNED, "other")])
@given(attributes=st.dictionaries(st.sampled_from(NAMES), st.text(max_size=5)), data=st.binary())
def test_payload_is_the_specified_one(
    attributes: dict[str, str], data: bytes, signed: tuple[str, ...]
) -> None:
    for _ in range(2):  # the second time from the cache
        assert envelope.material(attributes, data, signed) == specified(attributes, data, signed)


@given(st.binary(min_size=1), st.binary(min_size=1, max_size=90))
def test_both_readers_return_what_was_written(payload: bytes, signature: bytes) -> None:
    seal = envelope.Seal(payload, signature, KEY_ID)
    assert envelope.read(envelope.write(*seal)) == seal
    assert envelope.read_sealed(envelope.write(*seal), payload) == seal


@given(st.binary(min_size=1, max_size=400))
def test_seal_of_another_payload_is_not_read(payload: bytes) -> None:
    found = envelope.read_sealed(envelope.write(payload, b"s", KEY_ID), EXPECTED)
    assert (found is not None) is (payload == EXPECTED)


def seal_of(text: bytes) -> str:
    return b64encode(text).decode()


WRITTEN = b64decode(envelope.write(EXPECTED, b"signature", KEY_ID))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "=",
        "é",
        seal_of(WRITTEN) + "\n",
        seal_of(WRITTEN)[:-1],
        seal_of(WRITTEN + b" "),
        seal_of(b" " + WRITTEN),
        seal_of(WRITTEN.replace(b",", b", ")),
        seal_of(WRITTEN.replace(KEY_ID.encode(), b"k" * 42 + b";")),
        seal_of(WRITTEN.replace(KEY_ID.encode(), b"k" * 42)),
        seal_of(WRITTEN.replace(b64encode(b"signature"), b"")),
        seal_of(WRITTEN.replace(b64encode(b"signature"), b"c2lnbmF0dXJl\\n")),
        seal_of(WRITTEN.replace(b64encode(b"signature"), b"c2l=")),
        seal_of(WRITTEN.replace(b"dsse/v0.1", b"dsse/v0.2")),
        seal_of(WRITTEN.replace(b"}]}", b"},{}]}")),
    ],
)
def test_seal_in_another_form_is_rejected_by_both_readers(text: str) -> None:
    with pytest.raises(ValueError, match="seal"):
        envelope.read(text)
    with pytest.raises(ValueError, match="seal"):
        envelope.read_sealed(text, EXPECTED)
