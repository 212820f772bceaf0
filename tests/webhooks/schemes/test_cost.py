"""A delivery that anybody can send costs little to reject, however it is made.

`benchmarks/webhooks/rejections.py` measures the time.
"""

from base64 import b64encode
from urllib.parse import quote_from_bytes, quote_plus, unquote_to_bytes

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from tests.pki.builders import by_hand
from tests.pki.keys.large_keys import public_pem, with_exponent
from tests.webhooks.schemes import senders
from tests.webhooks.schemes.deliveries import post, refused
from tests.work import lines_executed
from troth.documents.webhook_endpoint import Signing
from troth.pki.encodings.pem import MAX_EXPONENT
from troth.resources.webhooks.names import size_in_bytes
from troth.resources.webhooks.schemes import LONGEST_BODY, SchemeName
from troth.webhooks.schemes.delivery import Delivery, Reason
from troth.webhooks.schemes.providers.twilio import Twilio, _decoded
from troth.webhooks.schemes.registry import scheme_for
from troth.webhooks.schemes.scheme import KeyFormatError

SIZE = 256 * 1024
MOST_LINES = 20_000
"""A thirteenth of a line for each byte. What is linear in C does not count."""

TWILIO = Twilio(senders.URL)
TOKEN = TWILIO.key("k1", senders.PLAIN)
FORMS = {
    "escapes": b"a=" + b"%41" * (SIZE // 3),
    "separators": b"&" * SIZE,
    "small fields": b"a=b&" * (SIZE // 4),
    "backslashes": b"a=" + b"\\" * SIZE,
    "plus signs": b"a=" + b"+" * SIZE,
}
DOCUMENTS = {
    "empty objects": b'{"a":[' + b"{}," * (SIZE // 3) + b"{}]}",
    "nested lists": b'{"a":[' + b"[[[]]]," * (SIZE // 7) + b"[]]}",
    "members": b"{" + b",".join(b'"%d":1' % number for number in range(SIZE // 9)) + b"}",
    "numbers": b'{"a":[' + b"1," * (SIZE // 2) + b"1]}",
    "strings": b'{"a":[' + b'"",' * (SIZE // 3) + b'""]}',
    "brackets in a string": b'{"Message":"' + b"{" * SIZE + b'"}',
    "escapes in a string": b'{"Message":"' + b"\\u0041" * (SIZE // 6) + b'"}',
    "open brackets": b"[" * SIZE,
}


def form(body: bytes) -> Delivery:
    signature = b64encode(bytes(20)).decode()
    content_type = "application/x-www-form-urlencoded"
    return post(body, x_twilio_signature=signature, content_type=content_type)


@pytest.mark.parametrize("body", FORMS.values(), ids=FORMS)
def test_hostile_form_of_twilio_is_rejected_at_little_cost(body: bytes) -> None:
    assert lines_executed(lambda: refused(TWILIO, form(body), (TOKEN,))) < MOST_LINES


@pytest.mark.parametrize("body", DOCUMENTS.values(), ids=DOCUMENTS)
def test_hostile_message_of_sns_is_rejected_at_little_cost(body: bytes) -> None:
    scheme = scheme_for(Signing(name=SchemeName.SNS, url=senders.URL, topics=("arn:a",)))

    def reject() -> None:
        assert refused(scheme, post(body), ()) is Reason.BODY_MALFORMED

    assert lines_executed(reject) < MOST_LINES


def fields(signature_input: str, signature: str = "a=:AAAA:") -> dict[str, str]:
    return {"signature_input": signature_input, "signature": signature}


COVERED = 'a=("@method")'
FIELDS = {
    "signatures": fields(COVERED, ",".join(f"a{number}=:AAAA:" for number in range(600))),
    "inputs": fields(",".join(f"a{number}=()" for number in range(1100))),
    "lists": fields(", ".join(f"a{number}=(1 2)" for number in range(600))),
    "components": fields("a=(" + " ".join(f'"a{number}"' for number in range(1100)) + ")"),
    "parameters": fields(COVERED + "".join(f";p{number}" for number in range(1500))),
    "many bytes": fields(f'a=("{"x" * 16_000}")'),
}


@pytest.mark.parametrize("headers", FIELDS.values(), ids=FIELDS)
def test_hostile_signature_fields_are_rejected_at_little_cost(headers: dict[str, str]) -> None:
    scheme = scheme_for(Signing(name=SchemeName.HTTP_SIGNATURES, url=senders.URL))
    key = scheme.key("k1", b"hmac-sha256:" + b64encode(bytes(32)))
    reasons = {Reason.TOO_MANY_SIGNATURES, Reason.SIGNATURE_MALFORMED}

    def reject() -> None:
        assert refused(scheme, post(b"", **headers), (key,)) in reasons

    assert lines_executed(reject) < 1000


def test_largest_sensible_signature_fields_are_read() -> None:
    """Four signatures that cover twenty components each."""
    scheme = scheme_for(Signing(name=SchemeName.HTTP_SIGNATURES, url=senders.URL))
    key = scheme.key("k1", b"hmac-sha256:" + b64encode(bytes(32)))
    names = " ".join(f'"a{number}"' for number in range(20))
    members = [
        f'a{number}=({names});created=1700000000;keyid="k1";nonce="1, 2; 3"' for number in range(4)
    ]
    signatures = ", ".join(f"a{number}=:AAAA:" for number in range(4))
    delivery = post(b"", signature_input=", ".join(members), signature=signatures)
    assert refused(scheme, delivery, (key,)) is Reason.NOT_COVERED


@given(st.binary(max_size=40))
def test_form_is_decoded_as_by_the_standard_library(value: bytes) -> None:
    try:
        value.decode()
    except UnicodeDecodeError:
        return
    for written in (quote_plus(value), quote_from_bytes(value, safe="\\/")):
        assert _decoded(written.encode()) == value == unquote_to_bytes(written.replace("+", " "))


@pytest.mark.parametrize("field", [b"%", b"%4", b"%4g", b"%%41", b"a%", b"%x41", b"%u0041"])
def test_invalid_escape_of_a_form_is_rejected(field: bytes) -> None:
    assert refused(TWILIO, form(b"a=" + field), (TOKEN,)) is Reason.BODY_MALFORMED


def test_claimed_id_is_looked_for_at_the_beginning_only() -> None:
    scheme = scheme_for(Signing(name=SchemeName.STRIPE, url=senders.URL))
    for before, found in (("", "evt_1"), (" " * 4000, "evt_1"), (" " * 4096, None)):
        assert scheme.claimed_id(post(f'{{{before}"id": "evt_1"}}'.encode())) == found
    assert scheme.claimed_id(post(b'{"id": "' + b"x" * 257 + b'"}')) is None


def test_body_limits_leave_room_for_the_largest_messages() -> None:
    assert size_in_bytes(LONGEST_BODY[SchemeName.SNS]) >= 4 * 256 * 1024
    assert size_in_bytes(LONGEST_BODY[SchemeName.TWILIO]) >= 64 * 1024


# Keys that make verification slow

SLOW = with_exponent(2**2000 + 1)
LEAST_SLOW = with_exponent(MAX_EXPONENT + 2)


@pytest.mark.parametrize("key", [SLOW, LEAST_SLOW], ids=["large", "just too large"])
def test_rsa_key_with_a_large_exponent_is_rejected(key: rsa.RSAPrivateKey) -> None:
    http = scheme_for(Signing(name=SchemeName.HTTP_SIGNATURES, url=senders.URL))
    with pytest.raises(KeyFormatError, match="65537"):
        http.key("k1", b"rsa-pss-sha512:" + public_pem(key))
    sns = scheme_for(Signing(name=SchemeName.SNS, url=senders.URL, topics=("arn:a",)))
    with pytest.raises(KeyFormatError):
        sns.key("k1", by_hand("sns", own_key=key).pem)
