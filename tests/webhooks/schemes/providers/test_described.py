"""Described HMACs: ambiguous descriptions are rejected."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.webhooks.schemes.senders import (
    BODY,
    FULL_HMAC,
    NOW,
    PLAIN,
    PLAIN_HMAC,
    URL,
    Sender,
    flipped,
    header_of,
    with_header,
)
from troth.documents.webhook_endpoint import Described, Signing
from troth.resources.webhooks.inbound import DescribedHMAC
from troth.resources.webhooks.schemes import SchemeName
from troth.webhooks.schemes.delivery import Delivery, Reason, RefusedError
from troth.webhooks.schemes.providers.described.signed_text import parse_signed_text
from troth.webhooks.schemes.registry import scheme_for
from troth.webhooks.schemes.scheme import Scheme, Stamp

MALFORMED = Reason.SIGNATURE_MALFORMED


def described(**parts: Any) -> Scheme:
    description = Described(**{"header": "X-Signature", **parts})
    return scheme_for(Signing(name=SchemeName.HMAC, url=URL, described=description))


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("", "not at the end"),
        ("body", "not at the end"),
        ("{timestamp}", "not at the end"),
        ("{body}.", "not at the end"),
        ("{body}{timestamp}", "not at the end"),
        ("{body}.{body}", "repeated"),
        ("{id}.{id}.{body}", "repeated"),
        ("{timestamp}{body}", "write text between"),
        ("{id}{timestamp}.{body}", "write text between"),
        ("{timestamp}0{body}", "the digit"),
        ("{header}.{body}", "braces"),
        ("{Body}", "braces"),
        ("{}{body}", "braces"),
        ("{{body}}", "braces"),
        ("{body", "braces"),
        ("}{body}", "braces"),
        ("{ body}", "braces"),
        ("é{body}", "ASCII"),
        ("\t{body}", "ASCII"),
        ("a" * 300 + "{body}", "256"),
    ],
)
def test_invalid_template_is_rejected(template: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_signed_text(template)


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ({"signed": "{timestamp}.{body}"}, "timestampHeader"),
        ({"timestamp_header": "X-Time"}, "timestampHeader"),
        ({"signed": "{id}.{body}"}, "idHeader"),
        ({"signed": "{body}{body}"}, "repeated"),
        ({"header": ""}, "header"),
        ({"header": "X Signature"}, "header"),
        ({"header": "X-Signature:"}, "header"),
        ({"header": "X-Signature\n"}, "header"),
        ({"id_header": "é"}, "header"),
        ({"id_header": "x-signature"}, "two purposes"),
        (
            {"signed": "{id}.{timestamp}.{body}", "id_header": "A", "timestamp_header": "a"},
            "two purposes",
        ),
        ({"prefix": "é"}, "prefix"),
        ({"prefix": "\n"}, "prefix"),
        ({"prefix": "a" * 65}, "prefix"),
    ],
)
def test_invalid_description_says_what_to_change(parts: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        described(**parts)


def test_signed_text_is_the_filled_template() -> None:
    signed = parse_signed_text("v9:{method} {url} {id}|{timestamp}.{body}")
    values = {"method": "POST", "url": URL, "id": "msg", "timestamp": "17"}
    expected = f"v9:POST {URL} msg|17.".encode() + b"\x00\xff{body}"
    assert signed.of(values, b"\x00\xff{body}") == expected


@pytest.mark.parametrize("digest", ["SHA256", "SHA512", "SHA1"])
@pytest.mark.parametrize("encoding", ["Hex", "Base64"])
@pytest.mark.parametrize("prefix", ["", "sha=", "HMAC "])
def test_every_digest_and_encoding_signs_and_verifies(
    digest: str, encoding: str, prefix: str
) -> None:
    scheme = described(digest=digest, encoding=encoding, prefix=prefix)
    sender = replace(PLAIN_HMAC, scheme=scheme)
    sent = sender.sent()
    value = header_of(sent, b"x-signature")
    assert value.startswith(prefix.encode())
    assert sender.key.algorithm == f"hmac-{digest.lower()}"
    assert sender.verified(sent).key_id == "k1"
    assert sender.refusal(replace(sent, body=b"{}")) is Reason.SIGNATURE_WRONG
    # A digest is as long as it is: a part of one is no signature.
    assert sender.refusal(with_header(sent, b"x-signature", value[:-4])) is MALFORMED


def test_key_is_for_the_described_digest() -> None:
    other = described(digest="SHA512").key("k1", PLAIN)
    assert PLAIN_HMAC.refusal(PLAIN_HMAC.sent(), [other]) is Reason.SIGNATURE_WRONG


def test_time_is_signed_if_the_template_has_it() -> None:
    assert FULL_HMAC.scheme.signs_timestamp
    assert not PLAIN_HMAC.scheme.signs_timestamp


def test_id_detects_replays_if_signed_and_is_otherwise_logged() -> None:
    first = FULL_HMAC.verified(FULL_HMAC.sent())
    again = FULL_HMAC.verified(FULL_HMAC.sent(b"{}", Stamp(NOW + 5, first.delivery_id or "")))
    assert again.replay == first.replay
    unsigned = PLAIN_HMAC.verified(PLAIN_HMAC.sent())
    assert unsigned.delivery_id == first.delivery_id
    named = with_header(PLAIN_HMAC.sent(), b"x-id", b"another")
    assert PLAIN_HMAC.verified(named).replay == unsigned.replay


@pytest.mark.parametrize("value", [b"a|b", b"|", b"", b"a" * 257])
def test_ambiguous_id_is_rejected(value: bytes) -> None:
    sent = (
        FULL_HMAC.sent(BODY, Stamp(NOW, value.decode()))
        if b"|" not in value
        else (with_header(FULL_HMAC.sent(), b"x-id", value))
    )
    assert FULL_HMAC.refusal(sent) is Reason.SIGNATURE_MALFORMED


def test_method_is_signed_if_the_template_has_it() -> None:
    sent = FULL_HMAC.sent()
    assert FULL_HMAC.refusal(replace(sent, method="PUT")) is Reason.SIGNATURE_WRONG
    assert FULL_HMAC.refusal(replace(sent, method="PO ST")) is Reason.SIGNATURE_MALFORMED
    assert FULL_HMAC.refusal(replace(sent, method="P\ud800")) is Reason.SIGNATURE_MALFORMED


def test_url_comes_from_the_configuration() -> None:
    elsewhere = replace(
        FULL_HMAC,
        scheme=scheme_for(
            Signing(
                name=SchemeName.HMAC,
                url="https://other.example/",
                described=Described(
                    header="X-Signature", signed="{url} {body}", prefix="", encoding="Hex"
                ),
            )
        ),
    )
    here = replace(elsewhere, scheme=described(signed="{url} {body}"))
    assert here.verified(here.sent()).key_id == "k1"
    assert elsewhere.refusal(here.sent()) is Reason.SIGNATURE_WRONG


small = st.text(st.sampled_from("ab.-"), min_size=1, max_size=4)


@given(
    st.sampled_from(["{id}.{body}", "{id}--{body}", "a{id}ab{body}", "{method}.{id}.{body}"]),
    st.lists(st.tuples(small, small, small), min_size=2, max_size=8),
)
def test_different_deliveries_have_different_signed_texts(
    template: str, deliveries: list[tuple[str, str, str]]
) -> None:
    signed = parse_signed_text(template)
    found: dict[bytes, tuple[str, str, str]] = {}
    for delivery_id, method, body in deliveries:
        used = (delivery_id, method if signed.has("method") else "", body)
        try:
            text = signed.of({"id": delivery_id, "method": method}, body.encode())
        except RefusedError:  # it could end elsewhere
            continue
        assert found.setdefault(text, used) == used


@given(st.data())
def test_altered_described_signature_is_rejected(data: st.DataObject) -> None:
    sender: Sender = FULL_HMAC
    sent: Delivery = sender.sent()
    value = header_of(sent, b"x-signature")
    changed = flipped(value, data.draw(st.integers(0, 8 * len(value) - 1)))
    assert sender.refusal(with_header(sent, b"x-signature", changed)) in (
        Reason.SIGNATURE_MALFORMED,
        Reason.SIGNATURE_WRONG,
    )


parts = st.sampled_from(
    [
        "{timestamp}",
        "{id}",
        "{method}",
        "{url}",
        "{body}",
        ".",
        ":",
        "v1",
        "0",
        "{",
        "}",
        "é",
        "\n",
        "\t",
    ]
)
names = st.sampled_from(["X-A", "x-a", "X-B", "X-C"])


@given(
    st.fixed_dictionaries(
        {
            "signed": st.tuples(
                st.lists(parts, max_size=5).map("".join), st.sampled_from(["", "{body}"])
            ).map("".join),
            "header": names,
            "prefix": st.sampled_from(["", "sha256=", "~", " ", "é"]),
        },
        optional={"timestampHeader": names, "idHeader": names},
    )
)
def test_every_valid_description_can_be_served(written: dict[str, str]) -> None:
    try:
        declared = DescribedHMAC.model_validate(written)
    except ValidationError:
        return
    sender = replace(PLAIN_HMAC, scheme=described(**declared.model_dump(mode="json")))
    assert sender.verified(sender.sent()).key_id == "k1"
