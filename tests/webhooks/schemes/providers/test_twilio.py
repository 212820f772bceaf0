"""Twilio: the configured URL and the form are signed, and nothing can be added."""

from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twilio.request_validator import RequestValidator

from tests.webhooks.schemes.deliveries import (
    STAMP,
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
from troth.webhooks.schemes.providers.twilio import Twilio
from troth.webhooks.schemes.scheme import KeyFormatError

TOKEN = "2c6ee24b09816a6f14f95d098b24d267"
URL = "https://hooks.example.com/shop/sms"
FORM = "application/x-www-form-urlencoded"
SCHEME = Twilio(URL)
KEY = SCHEME.key("k1", TOKEN.encode() + b"\n")
MANY = "&".join(f"a{number}=b" for number in range(1001)).encode()
FIELDS = {"From": "+14158675309", "Body": "Zoë & co = 100%", "Empty": ""}


def form(fields: dict[str, str] | None = None, target: str = "/shop/sms") -> Delivery:
    return post(urlencode(FIELDS if fields is None else fields).encode(), target, content_type=FORM)


def signed(delivery: Delivery | None = None) -> Delivery:
    return SCHEME.sign(delivery or form(), KEY, STAMP)


def json_signed() -> Delivery:
    return signed(post(b'{"a": 1}', "/shop/sms", content_type="application/json"))


def test_published_example_is_verified() -> None:
    """https://www.twilio.com/docs/usage/security, and twilio-java's tests of JSON bodies."""
    fields = {
        "CallSid": "CA1234567890ABCDE",
        "Caller": "+14158675309",
        "Digits": "1234",
        "From": "+14158675309",
        "To": "+18005551212",
    }
    scheme = Twilio("https://mycompany.com/myapp.php")
    key = scheme.key("k", b"12345".ljust(16, b"x"))
    delivery = scheme.sign(form(fields, "/myapp.php?foo=1&bar=2"), key, STAMP)
    expected = RequestValidator("12345".ljust(16, "x")).compute_signature(
        "https://mycompany.com/myapp.php?foo=1&bar=2", fields
    )
    assert delivery.header(b"x-twilio-signature") == expected
    assert (
        RequestValidator("12345").compute_signature(
            "https://mycompany.com/myapp.php?foo=1&bar=2", fields
        )
        == "RSOYDt4T1cUTdK1PDd93/VVr8B8="
    )


@given(
    st.dictionaries(st.text(min_size=1, max_size=8), st.text(max_size=8), max_size=5),
    st.sampled_from(("", "?a=1", "?a=%20b&c")),
    st.booleans(),
)
def test_signatures_of_twilio_are_verified(
    fields: dict[str, str], query: str, with_port: bool
) -> None:
    url = URL.replace(".com/", ".com:443/") if with_port else URL
    signature = RequestValidator(TOKEN).compute_signature(url + query, fields)
    delivery = form(fields, f"/shop/sms{query}").with_headers([("X-Twilio-Signature", signature)])
    assert verified(SCHEME, delivery, [KEY]).key_id == "k1"


@given(
    st.dictionaries(st.text(min_size=1, max_size=8), st.text(max_size=8), max_size=5),
    st.sampled_from((URL, "https://hooks.example.com:8443/x", "http://h.example:80/")),
)
def test_twilio_verifies_own_signatures(fields: dict[str, str], url: str) -> None:
    delivery = Twilio(url).sign(form(fields, "/?q=1"), KEY, STAMP)
    signature = delivery.header(b"x-twilio-signature")
    assert RequestValidator(TOKEN).validate(f"{url}?q=1", fields, signature)


def test_body_that_is_no_form_has_its_digest_in_the_query() -> None:
    delivery = json_signed()
    assert verified(SCHEME, delivery, [KEY]).key_id == "k1"
    query = delivery.target.decode().partition("?")[2]
    assert RequestValidator(TOKEN).validate(
        f"{URL}?{query}", delivery.body.decode(), delivery.header(b"x-twilio-signature")
    )
    assert refused(SCHEME, changed(delivery, body=b'{"a": 2}'), [KEY]) is Reason.CONTENT_CHANGED


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (without("x-twilio-signature"), Reason.SIGNATURE_MISSING),
        (with_header("x-twilio-signature", ""), Reason.SIGNATURE_MISSING),
        (twice("x-twilio-signature"), Reason.HEADER_REPEATED),
        (twice("content-type"), Reason.HEADER_REPEATED),
        (edited("x-twilio-signature", flipped), Reason.SIGNATURE_WRONG),
        (edited("x-twilio-signature", lambda text: text[:-1]), Reason.SIGNATURE_MALFORMED),
        (edited("x-twilio-signature", lambda text: f" {text}"), Reason.SIGNATURE_MALFORMED),
        (edited("x-twilio-signature", lambda text: f"{text},{text}"), Reason.SIGNATURE_MALFORMED),
        (without("content-type"), Reason.NOT_COVERED),
        (with_header("content-type", "application/json"), Reason.NOT_COVERED),
        (lambda each: changed(each, body=each.body + b"&a=b"), Reason.SIGNATURE_WRONG),
        (lambda each: changed(each, body=b""), Reason.SIGNATURE_WRONG),
        (lambda each: changed(each, body=each.body + b"&Empty="), Reason.BODY_MALFORMED),
        (lambda each: changed(each, body=each.body + b"&"), Reason.BODY_MALFORMED),
        (lambda each: changed(each, body=each.body + b"&a"), Reason.BODY_MALFORMED),
        (lambda each: changed(each, body=b"a=%zz"), Reason.BODY_MALFORMED),
        (lambda each: changed(each, body=b"a=%f"), Reason.BODY_MALFORMED),
        (lambda each: changed(each, body=b"a=%ff"), Reason.BODY_MALFORMED),
        (lambda each: changed(each, body=MANY), Reason.BODY_MALFORMED),
        (lambda each: changed(each, target=b"/shop/sms?a=1"), Reason.SIGNATURE_WRONG),
        (lambda each: changed(each, target=b"/shop/sms?"), Reason.SIGNATURE_WRONG),
        (lambda each: changed(each, target=b"/shop/sms\xff"), Reason.SIGNATURE_MALFORMED),
        (lambda each: changed(each, target=b"/shop/sms#a"), Reason.SIGNATURE_MALFORMED),
    ],
)
def test_altered_delivery_is_rejected(change: Change, reason: Reason) -> None:
    assert refused(SCHEME, change(signed()), [KEY]) is reason


def test_signed_url_with_a_digest_is_rejected_for_an_empty_form() -> None:
    """The type of the content is not signed, and an empty form adds nothing to the URL."""
    delivery = changed(json_signed(), body=b"").with_headers([("content-type", FORM)])
    assert refused(SCHEME, delivery, [KEY]) is Reason.CONTENT_CHANGED


def test_repeated_digest_is_rejected() -> None:
    delivery = json_signed()
    query = delivery.target.partition(b"?")[2]
    delivery = changed(delivery, target=delivery.target + b"&" + query)
    assert refused(SCHEME, delivery, [KEY]) is Reason.CONTENT_CHANGED


@pytest.mark.parametrize("header", ["host", "x-forwarded-host", "x-forwarded-proto", "forwarded"])
def test_url_is_never_that_of_a_header(header: str) -> None:
    assert verified(SCHEME, signed().with_headers([(header, "evil.example")]), [KEY])
    other = Twilio("https://evil.example/shop/sms").sign(form(), KEY, STAMP)
    other = other.with_headers([(header, "evil.example")])
    assert refused(SCHEME, other, [KEY]) is Reason.SIGNATURE_WRONG


def test_replay_is_recognized_with_any_ids_and_splits() -> None:
    delivery = signed(form({"a": "bc"}))
    again = with_header("i-twilio-idempotency-token", "other")(delivery)
    recut = changed(again, body=b"ab=c")
    assert len({verified(SCHEME, each, [KEY]).replay for each in (delivery, again, recut)}) == 1
    assert verified(SCHEME, signed(), [KEY]).replay != verified(SCHEME, delivery, [KEY]).replay


@pytest.mark.parametrize("url", [URL, URL.replace(".com/", ".com:443/")])
@pytest.mark.parametrize("signed_url", [URL, URL.replace(".com/", ".com:443/")])
def test_port_may_be_signed_or_not(url: str, signed_url: str) -> None:
    signature = RequestValidator(TOKEN).compute_signature(signed_url, FIELDS)
    delivery = form().with_headers([("x-twilio-signature", signature)])
    assert verified(Twilio(url), delivery, [KEY]).key_id == "k1"
    other = URL.replace(".com/", ".com:8443/")
    signature = RequestValidator(TOKEN).compute_signature(other, FIELDS)
    delivery = form().with_headers([("x-twilio-signature", signature)])
    assert refused(Twilio(url), delivery, [KEY]) is Reason.SIGNATURE_WRONG


def test_signing_key_is_named() -> None:
    other = SCHEME.key("k2", b"another-token-of-the-account")
    assert verified(SCHEME, signed(), [other, KEY]).key_id == "k1"
    assert refused(SCHEME, signed(), [other]) is Reason.SIGNATURE_WRONG
    assert refused(SCHEME, signed(), []) is Reason.SIGNATURE_WRONG


@pytest.mark.parametrize("text", [b"", b"short", b"\xff" * 32, b"two\nlines of a token here"])
def test_invalid_auth_token_is_rejected_with_a_message(text: bytes) -> None:
    with pytest.raises(KeyFormatError):
        SCHEME.key("k", text)


@pytest.mark.parametrize(
    "url", ["", "hooks.example.com", "ftp://a/b", "https://a/b?c", "https://a/b#c", "https://u@a/"]
)
def test_invalid_url_is_rejected(url: str) -> None:
    with pytest.raises(ValueError, match="https"):
        Twilio(url)
