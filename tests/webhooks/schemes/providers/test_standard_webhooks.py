"""Standard Webhooks: lists of signatures, and keys pinned to an algorithm."""

import base64

import pytest

from tests.webhooks.schemes.senders import (
    BODY,
    GITLAB,
    OTHER_WHSEC,
    V1,
    V1A,
    WHPK,
    WHSEC,
    WHSEC_32,
    WHSK,
    header_of,
    with_header,
)
from troth.webhooks.schemes.delivery import Delivery, Reason
from troth.webhooks.schemes.scheme import Key, KeyFormatError, Stamp

SIGNATURE = b"webhook-signature"
MAC = V1.key
PUBLIC = V1.scheme.key("k2", WHPK)
FALSE = b"v1," + base64.b64encode(bytes(32))
FALSE_A = b"v1a," + base64.b64encode(bytes(64))
TRUE = header_of(V1.sent(), SIGNATURE)
TRUE_A = header_of(V1A.sent(), SIGNATURE)


def with_signatures(*signatures: bytes) -> Delivery:
    return with_header(V1.sent(), SIGNATURE, b" ".join(signatures))


@pytest.mark.parametrize(
    "listed",
    [
        (FALSE, TRUE),
        (TRUE, FALSE),
        (TRUE_A, TRUE),
        (FALSE_A, TRUE),
        (b"v2,whatever", TRUE, b"v9000,=,="),
        (b"v1a,not-ours-to-read", TRUE),
        (*[FALSE] * 15, TRUE),
    ],
)
def test_any_signature_of_the_list_may_match(listed: tuple[bytes, ...]) -> None:
    assert V1.verified(with_signatures(*listed)).key_id == "k1"


@pytest.mark.parametrize(
    ("listed", "reason"),
    [
        ((b"",), Reason.SIGNATURE_MISSING),
        ((b"v2,whatever",), Reason.SIGNATURE_MISSING),
        ((TRUE_A,), Reason.SIGNATURE_MISSING),
        ((FALSE,), Reason.SIGNATURE_WRONG),
        ((b"", TRUE), Reason.SIGNATURE_MALFORMED),
        ((TRUE, b""), Reason.SIGNATURE_MALFORMED),
        ((b"v1", TRUE), Reason.SIGNATURE_MALFORMED),
        ((b",", TRUE), Reason.SIGNATURE_MALFORMED),
        ((b"v1,", TRUE), Reason.SIGNATURE_MALFORMED),
        ((b"v1,AAAA", TRUE), Reason.SIGNATURE_MALFORMED),
        ((TRUE.replace(b"v1,", b"v1="),), Reason.SIGNATURE_MALFORMED),
        ((TRUE.replace(b"v1,", b"V1,"),), Reason.SIGNATURE_MISSING),
        ((TRUE.rstrip(b"="),), Reason.SIGNATURE_MALFORMED),
        ((TRUE.replace(b"=", b"=="),), Reason.SIGNATURE_MALFORMED),
        ((TRUE + b"," + TRUE,), Reason.SIGNATURE_MALFORMED),
        ((*[FALSE] * 16, TRUE), Reason.TOO_MANY_SIGNATURES),
        ((*[b"v2,x"] * 16, TRUE), Reason.TOO_MANY_SIGNATURES),
        ((TRUE, *[FALSE] * 5000), Reason.TOO_MANY_SIGNATURES),
    ],
)
def test_list_without_a_valid_signature_is_rejected(
    listed: tuple[bytes, ...], reason: Reason
) -> None:
    assert V1.refusal(with_signatures(*listed)) is reason


def test_non_canonical_base64_signature_is_rejected() -> None:
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    last = letters[letters.index(chr(TRUE[-2])) + 1].encode()
    other = TRUE[:-2] + last + b"="
    assert base64.b64decode(other[3:]) == base64.b64decode(TRUE[3:])
    assert V1.refusal(with_signatures(other)) is Reason.SIGNATURE_MALFORMED


def test_signature_of_another_algorithm_is_rejected() -> None:
    assert V1.refusal(with_signatures(TRUE), [PUBLIC]) is Reason.SIGNATURE_MISSING
    assert V1.refusal(with_signatures(TRUE_A), [MAC]) is Reason.SIGNATURE_MISSING
    assert V1.verified(with_signatures(TRUE_A), [PUBLIC]).key_id == "k2"


def test_public_key_is_never_a_shared_secret() -> None:
    """Whoever knows the public key could else make an HMAC with it."""
    raw = base64.b64decode(WHPK.removeprefix(b"whpk_"))
    forger = V1.scheme.key("forger", b"whsec_" + base64.b64encode(raw))
    forged = V1.scheme.sign(Delivery("POST", b"/", (), BODY), forger, Stamp(1_700_000_000, "msg"))
    assert V1.verified(forged, [forger]).key_id == "forger"
    assert V1.refusal(forged, [PUBLIC]) is Reason.SIGNATURE_MISSING
    as_v1a = with_header(forged, SIGNATURE, header_of(forged, SIGNATURE).replace(b"v1,", b"v1a,"))
    assert V1.refusal(as_v1a, [PUBLIC]) is Reason.SIGNATURE_MALFORMED


@pytest.mark.parametrize("keys", [(MAC, PUBLIC), (PUBLIC, MAC)])
def test_both_kinds_of_key_may_coexist(keys: tuple[Key, ...]) -> None:
    assert V1.verified(with_signatures(TRUE), keys).key_id == "k1"
    assert V1.verified(with_signatures(TRUE_A), keys).key_id == "k2"
    assert V1.verified(with_signatures(FALSE, TRUE_A), keys).key_id == "k2"
    assert V1.verified(with_signatures(TRUE, TRUE_A), keys).key_id == keys[0].id
    assert V1.refusal(with_signatures(FALSE, FALSE_A), keys) is Reason.SIGNATURE_WRONG


def test_number_of_costly_signatures_is_bounded() -> None:
    assert V1.verified(with_signatures(*[FALSE_A] * 3, TRUE_A), [PUBLIC]).key_id == "k2"
    many = with_signatures(*[FALSE_A] * 4, TRUE_A)
    assert V1.refusal(many, [PUBLIC]) is Reason.TOO_MANY_SIGNATURES
    assert V1.verified(with_signatures(*[FALSE_A] * 5, TRUE), [MAC]).key_id == "k1"


@pytest.mark.parametrize("delivery_id", [b"msg.1", b".", b"1.1700000000", b"a" * 257, b""])
def test_ambiguous_id_is_rejected(delivery_id: bytes) -> None:
    sent = V1.sent(BODY, Stamp(1_700_000_000, delivery_id.decode()))
    assert V1.refusal(sent) is Reason.SIGNATURE_MALFORMED


def test_shifted_boundaries_are_rejected() -> None:
    """`a` with the body `1.b` is not `a.1` with the body `b`, though what is signed is one."""
    sent = V1.sent(b"1700000000.{}", Stamp(1_700_000_000, "a"))
    assert V1.verified(sent).delivery_id == "a"
    moved = Delivery("POST", b"/", with_header(sent, b"webhook-id", b"a.1700000000").headers, b"{}")
    assert V1.refusal(moved) is Reason.SIGNATURE_MALFORMED


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (WHSEC.removeprefix(b"whsec_"), "prefix"),
        (WHSEC.upper(), "prefix"),
        (b"whsec_", "24 to 64"),
        (b"whsec_" + base64.b64encode(bytes(23)), "24 to 64"),
        (b"whsec_" + base64.b64encode(bytes(65)), "24 to 64"),
        (b"whsec_" + base64.urlsafe_b64encode(b"\xff" * 24), "copy the whole key"),
        (WHSEC[:-1] + b"!", "copy the whole key"),
        (WHSEC[:10] + b"\n" + WHSEC[10:], "copy the whole key"),
        (b"whpk_" + base64.b64encode(bytes(range(31))), "32 bytes"),
        (b"whpk_" + base64.b64encode(bytes(range(64))), "32 bytes"),
        (b"whsk_" + base64.b64encode(bytes(range(32))), "64 bytes"),
        (b"whsk_" + base64.b64encode(bytes(range(64))), "not belong together"),
    ],
)
def test_invalid_key_says_what_to_write(text: bytes, says: str) -> None:
    with pytest.raises(KeyFormatError, match=says):
        V1.scheme.key("k1", text)


@pytest.mark.parametrize("size", [24, 32, 64])
@pytest.mark.parametrize("end", [b"", b"="])
def test_secret_has_24_to_64_bytes_with_optional_padding(size: int, end: bytes) -> None:
    text = b"whsec_" + base64.b64encode(bytes(range(size))).rstrip(b"=")
    padded = text + end * (-len(text.removeprefix(b"whsec_")) % 4)
    assert V1.scheme.key("k1", padded).material == bytes(range(size))


@pytest.mark.parametrize("text", [WHSEC, OTHER_WHSEC, WHPK, WHSK, b"It's a Secret to Everybody"])
def test_gitlab_accepts_one_kind_of_key(text: bytes) -> None:
    assert GITLAB.scheme.key("k1", WHSEC_32).algorithm == "hmac-sha256"
    with pytest.raises(KeyFormatError, match=r"32 bytes|prefix"):
        GITLAB.scheme.key("k1", text)


# The encodings of the points of small order (RFC 7748 section 6.1 has their like): libsodium
# refuses the same.
WEAK = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
]


@pytest.mark.parametrize("encoded", WEAK)
@pytest.mark.parametrize("sign", [0, 0x80])
def test_weak_public_key_is_rejected(encoded: str, sign: int) -> None:
    raw = bytearray.fromhex(encoded)
    raw[-1] |= sign
    with pytest.raises(KeyFormatError, match="anyone can sign"):
        V1.scheme.key("k1", b"whpk_" + base64.b64encode(raw))


def test_ed25519_signature_has_one_encoding() -> None:
    """RFC 8032 section 5.1.7: S is below the order of the group, else S + order would fit too."""
    order = 2**252 + 27742317777372353535851937790883648493
    signature = base64.b64decode(TRUE_A.removeprefix(b"v1a,"))
    moved = int.from_bytes(signature[32:], "little") + order
    other = signature[:32] + moved.to_bytes(32, "little")
    sent = with_signatures(b"v1a," + base64.b64encode(other))
    assert V1.refusal(sent, [PUBLIC]) is Reason.SIGNATURE_WRONG


def test_signing_with_a_public_key_is_rejected() -> None:
    with pytest.raises(KeyFormatError, match="private"):
        V1.scheme.sign(V1.sent(), PUBLIC, Stamp(1, "msg"))
