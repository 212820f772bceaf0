"""Discord: Ed25519 over time and body; a PING is answered and not forwarded."""

import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey, VerifyKey

from tests.webhooks.schemes.deliveries import (
    NOW,
    STAMP,
    TOLERANCE,
    Change,
    changed,
    edited,
    flipped,
    post,
    refused,
    twice,
    verified,
    with_header,
    without,
)
from troth.webhooks.schemes.delivery import Delivery, Reason
from troth.webhooks.schemes.providers.discord import PONG, Discord
from troth.webhooks.schemes.scheme import KeyFormatError

SIGNING = SigningKey(bytes(range(32)))
SCHEME = Discord()
KEY = SCHEME.key("app", SIGNING.verify_key.encode().hex().encode() + b"\n")
BODY = b'{"id": "846462639134605312", "type": 2}'

PRIVATE = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PEM = PRIVATE.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def signed(body: bytes = BODY, timestamp: int | str = NOW) -> Delivery:
    """As Discord signs, by PyNaCl, which its own documentation uses."""
    signature = SIGNING.sign(f"{timestamp}".encode() + body).signature.hex()
    return post(body, x_signature_ed25519=signature, x_signature_timestamp=str(timestamp))


@given(st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=5))
def test_signatures_of_discord_are_verified(document: dict[str, int | str]) -> None:
    assert verified(SCHEME, signed(json.dumps(document).encode()), [KEY]).key_id == "app"


@given(st.binary(max_size=40))
def test_pynacl_verifies_own_signatures(body: bytes) -> None:
    delivery = SCHEME.sign(post(body), SCHEME.key("k", PEM), STAMP)
    message = delivery.header(b"x-signature-timestamp").encode() + body
    signature = bytes.fromhex(delivery.header(b"x-signature-ed25519"))
    assert VerifyKey(SIGNING.verify_key.encode()).verify(message, signature) == message


def test_verified_facts_are_id_and_time() -> None:
    known = verified(SCHEME, signed(), [KEY])
    assert (known.delivery_id, known.timestamp) == ("846462639134605312", NOW)
    assert known.answer is None


def test_ping_is_answered_only_if_verified() -> None:
    ping = signed(b'{"id": "1", "type": 1}')
    assert verified(SCHEME, ping, [KEY]).answer == PONG
    assert refused(SCHEME, edited("x-signature-ed25519", flipped)(ping), [KEY])


def test_event_is_no_ping() -> None:
    """https://discord.com/developers/docs/events/webhook-events: type 1 there is an event."""
    event = signed(b'{"type": 1, "event": {"type": "APPLICATION_AUTHORIZED"}}')
    assert verified(SCHEME, event, [KEY]).answer is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (without("x-signature-ed25519"), Reason.SIGNATURE_MISSING),
        (with_header("x-signature-ed25519", ""), Reason.SIGNATURE_MISSING),
        (twice("x-signature-ed25519"), Reason.HEADER_REPEATED),
        (edited("x-signature-ed25519", flipped), Reason.SIGNATURE_WRONG),
        (edited("x-signature-ed25519", str.upper), Reason.SIGNATURE_MALFORMED),
        (edited("x-signature-ed25519", lambda text: text[:-2]), Reason.SIGNATURE_MALFORMED),
        (edited("x-signature-ed25519", lambda text: text * 1000), Reason.SIGNATURE_MALFORMED),
        (without("x-signature-timestamp"), Reason.HEADER_MISSING),
        (twice("x-signature-timestamp"), Reason.HEADER_REPEATED),
        (with_header("x-signature-timestamp", str(NOW + 1)), Reason.SIGNATURE_WRONG),
        (with_header("x-signature-timestamp", f"0{NOW}"), Reason.TIMESTAMP_MALFORMED),
        (with_header("x-signature-timestamp", ""), Reason.TIMESTAMP_MALFORMED),
        (lambda each: changed(each, body=BODY + b" "), Reason.SIGNATURE_WRONG),
    ],
)
def test_altered_delivery_is_rejected(change: Change, reason: Reason) -> None:
    assert refused(SCHEME, change(signed()), [KEY]) is reason


def test_shifted_boundary_of_time_and_body_is_rejected() -> None:
    """A digit of the body taken for one of the time."""
    delivery = changed(signed(b"1{}"), body=b"{}").with_headers(
        [("x-signature-timestamp", f"{NOW}1")]
    )
    assert refused(SCHEME, delivery, [KEY]) is Reason.TIMESTAMP_TOO_NEW


def test_tolerance_is_symmetric() -> None:
    for away in (-TOLERANCE, TOLERANCE):
        assert verified(SCHEME, signed(timestamp=NOW + away), [KEY])
    assert refused(SCHEME, signed(timestamp=NOW - 301), [KEY]) is Reason.TIMESTAMP_TOO_OLD
    assert refused(SCHEME, signed(timestamp=NOW + 301), [KEY]) is Reason.TIMESTAMP_TOO_NEW


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b"[" * 5000])
def test_signed_body_that_is_no_object_is_rejected(body: bytes) -> None:
    assert refused(SCHEME, signed(body), [KEY]) is Reason.BODY_MALFORMED


def test_replay_is_recognized_by_id_or_signed_content() -> None:
    later = signed(timestamp=NOW + 1)
    assert verified(SCHEME, later, [KEY]).replay == verified(SCHEME, signed(), [KEY]).replay
    bare = [signed(b"{}"), signed(b"{}"), signed(b"{}", NOW + 1)]
    assert len({verified(SCHEME, each, [KEY]).replay for each in bare}) == 2


def test_key_is_hexadecimal_or_a_pem() -> None:
    public = PRIVATE.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for text in (public, PEM, SIGNING.verify_key.encode().hex().upper().encode()):
        assert verified(SCHEME, signed(), [SCHEME.key("k", text)]).key_id == "k"
    other = ec.generate_private_key(ec.SECP256R1()).public_key()
    for text in (
        b"",
        b"ab" * 31,
        b"zz" * 32,
        b"00" * 32,
        b"01" + b"00" * 31,
        b"\xff" * 32,
        other.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        PEM + PEM,
        b"-----BEGIN PRIVATE KEY-----",
        PEM.replace(b"MC4CAQAwBQYDK2Vw", b"MC4CAQAwBQYDK2Vv"),  # X448, for which it is too short
    ):
        with pytest.raises(KeyFormatError):
            SCHEME.key("k", text)


def test_signing_with_a_public_key_is_rejected() -> None:
    with pytest.raises(KeyFormatError, match="private"):
        SCHEME.sign(post(), KEY, STAMP)


def test_repr_never_has_a_key() -> None:
    assert bytes(range(32)).hex() not in repr(SCHEME.key("k", PEM))
