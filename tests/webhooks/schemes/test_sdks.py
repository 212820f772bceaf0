"""Every scheme against the sender's own library, in both directions.

A delivery that is changed by one bit is refused by both.
"""

import base64
import hmac
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pytest
import standardwebhooks
import stripe
import svix
from hypothesis import given
from hypothesis import strategies as st
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey
from slack_sdk.signature import Clock, SignatureVerifier
from square.utils.webhooks_helper import verify_signature

from tests.webhooks.schemes.senders import (
    GITLAB,
    SLACK,
    SQUARE,
    STRIPE,
    URL,
    V1,
    V1A,
    WHSK,
    Sender,
    flipped,
    header_of,
    with_header,
)
from troth.webhooks.schemes.delivery import Delivery, RefusedError
from troth.webhooks.schemes.scheme import Stamp

BODY = '{"id": "evt_1", "object": "event", "text": "größer ∞"}'
ID = "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W"


@dataclass(frozen=True)
class Library:
    """What a sender publishes: `signs` returns headers, `takes` whether a delivery is its own."""

    name: str
    sender: Sender
    signs: Callable[[Sender, str, int], dict[str, str]]
    takes: Callable[[Sender, Delivery], bool]

    def __str__(self) -> str:
        return self.name


def _headers(delivery: Delivery) -> dict[str, str]:
    return {name.decode(): value.decode("latin-1") for name, value in delivery.headers}


def _is_quiet(check: Callable[[], object]) -> bool:
    """Whether a check raises nothing; what libraries raise of malformed input is their own."""
    try:
        check()
    except Exception:  # noqa: BLE001 - binascii's, ValueError, and errors of their own
        return False
    return True


def _standard(kind: Any) -> Library:
    def signs(sender: Sender, body: str, now: int) -> dict[str, str]:
        signature = kind(sender.text.decode()).sign(ID, datetime.fromtimestamp(now, UTC), body)
        return {"webhook-id": ID, "webhook-timestamp": str(now), "webhook-signature": signature}

    def takes(sender: Sender, delivery: Delivery) -> bool:
        webhook = kind(sender.text.decode())
        return _is_quiet(lambda: webhook.verify(delivery.body, _headers(delivery)))

    return Library(kind.__module__.partition(".")[0], V1, signs, takes)


def _stripe_signs(sender: Sender, body: str, now: int) -> dict[str, str]:
    signature = stripe.WebhookSignature.generate_signature_header(body, sender.text.decode(), now)
    return {"stripe-signature": signature}


def _stripe_takes(sender: Sender, delivery: Delivery) -> bool:
    return _is_quiet(
        lambda: stripe.WebhookSignature.verify_header(
            delivery.body, _headers(delivery)["stripe-signature"], sender.text.decode(), 300
        )
    )


def _slack_signs(sender: Sender, body: str, now: int) -> dict[str, str]:
    verifier = SignatureVerifier(sender.text.decode())
    signature = verifier.generate_signature(timestamp=str(now), body=body)
    assert signature is not None
    return {"x-slack-request-timestamp": str(now), "x-slack-signature": signature}


def _slack_takes(sender: Sender, delivery: Delivery) -> bool:
    verifier = SignatureVerifier(sender.text.decode(), Clock())
    taken: list[bool] = []
    _is_quiet(lambda: taken.append(verifier.is_valid_request(delivery.body, _headers(delivery))))
    return taken == [True]


def _square_signs(sender: Sender, body: str, now: int) -> dict[str, str]:
    # the library verifies only; this is what it compares with
    mac = hmac.digest(sender.text, (URL + body).encode(), "sha256")
    return {"x-square-hmacsha256-signature": base64.b64encode(mac).decode()}


def _square_takes(sender: Sender, delivery: Delivery) -> bool:
    taken: list[bool] = []
    _is_quiet(
        lambda: taken.append(
            verify_signature(
                request_body=delivery.body.decode(),
                signature_header=_headers(delivery)["x-square-hmacsha256-signature"],
                signature_key=sender.text.decode(),
                notification_url=URL,
            )
        )
    )
    return taken == [True]


LIBRARIES = [
    _standard(standardwebhooks.Webhook),
    _standard(svix.Webhook),
    replace(_standard(standardwebhooks.Webhook), name="GitLab", sender=GITLAB),
    Library("stripe", STRIPE, _stripe_signs, _stripe_takes),
    Library("slack", SLACK, _slack_signs, _slack_takes),
    Library("square", SQUARE, _square_signs, _square_takes),
]
every = pytest.mark.parametrize("library", LIBRARIES, ids=str)


def now() -> int:
    return int(time.time())  # the libraries ask the clock themselves


@every
def test_library_accepts_own_signatures(library: Library) -> None:
    sent = library.sender.sent(BODY.encode(), Stamp(now(), ID))
    assert library.takes(library.sender, sent)


@every
def test_signatures_of_the_library_are_accepted(library: Library) -> None:
    headers = library.signs(library.sender, BODY, now())
    delivery = Delivery("POST", b"/", (), BODY.encode()).with_headers(headers.items())
    assert library.sender.verified(delivery, now=time.time()).key_id == "k1"


@every
def test_signature_of_another_key_is_rejected_by_both(library: Library) -> None:
    other = replace(library.sender, text=library.sender.other)
    sent = other.sent(BODY.encode(), Stamp(now(), ID))
    assert not library.takes(library.sender, sent)
    library.sender.refusal(sent, now=time.time())


@every
@given(st.data())
def test_changed_bit_is_rejected_by_both(library: Library, data: st.DataObject) -> None:
    sent = library.sender.sent(BODY.encode(), Stamp(now(), ID))
    bit = data.draw(st.integers(0, 8 * len(sent.body) - 1))
    changed = replace(sent, body=flipped(sent.body, bit))
    assert not library.takes(library.sender, changed)
    library.sender.refusal(changed, now=time.time())


@every
@given(st.data())
def test_changed_header_that_the_library_rejects_is_rejected(
    library: Library, data: st.DataObject
) -> None:
    sent = library.sender.sent(BODY.encode(), Stamp(now(), ID))
    name = data.draw(st.sampled_from(library.sender.headers))
    value = header_of(sent, name)
    changed = with_header(sent, name, flipped(value, data.draw(st.integers(0, 8 * len(value) - 1))))
    try:
        library.sender.verified(changed, now=time.time())
    except RefusedError:
        return
    assert library.takes(library.sender, changed)


def test_libsodium_and_troth_accept_each_others_signatures() -> None:
    seed = base64.b64decode(WHSK.removeprefix(b"whsk_"))[:32]
    theirs = SigningKey(seed)
    sent = V1A.sent()
    version, _, signature = header_of(sent, b"webhook-signature").partition(b",")
    signed = b"%b.%b.%b" % (
        header_of(sent, b"webhook-id"),
        header_of(sent, b"webhook-timestamp"),
        sent.body,
    )
    assert version == b"v1a"
    assert theirs.verify_key.verify(signed, base64.b64decode(signature)) == signed
    with pytest.raises(BadSignatureError):
        theirs.verify_key.verify(signed + b" ", base64.b64decode(signature))
    again = b"v1a," + base64.b64encode(theirs.sign(signed).signature)
    assert V1A.verified(with_header(sent, b"webhook-signature", again)).key_id == "k1"
