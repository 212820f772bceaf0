"""Reasons of rejected deliveries, as logged."""

import re
from dataclasses import replace

import pytest

from tests.webhooks.schemes.senders import (
    BITBUCKET,
    BODY,
    GITHUB,
    GITLAB_TOKEN,
    NOW,
    PADDLE,
    SHOPIFY,
    SLACK,
    SQUARE,
    STRIPE,
    URL,
    Sender,
    header_of,
    with_header,
)
from troth.documents.webhook_endpoint import Signing
from troth.resources.webhooks.schemes import SchemeName
from troth.webhooks.schemes.delivery import Reason, RefusedError
from troth.webhooks.schemes.registry import scheme_for
from troth.webhooks.schemes.scheme import KeyFormatError

MALFORMED = Reason.SIGNATURE_MALFORMED
MISSING = Reason.SIGNATURE_MISSING
WRONG = Reason.SIGNATURE_WRONG
MANY = Reason.TOO_MANY_SIGNATURES
TIME = Reason.TIMESTAMP_MALFORMED


def macs(sender: Sender) -> str:
    """The signature of the sender's delivery, without what is around it."""
    text = header_of(sender.sent(), sender.signature).decode()
    (found,) = re.findall(r"[0-9a-f]{64}$|[A-Za-z0-9+/]{43}=$|^It's .*", text)
    return str(found)


STRIPE_MAC, PADDLE_MAC = macs(STRIPE), macs(PADDLE)
ZEROS = "0" * 64

REFUSED = [
    (GITHUB, "sha256=", MALFORMED),
    (GITHUB, macs(GITHUB), MALFORMED),
    (GITHUB, f"SHA256={macs(GITHUB)}", MALFORMED),
    (GITHUB, f"sha1={macs(GITHUB)[:40]}", MALFORMED),
    (GITHUB, f"sha256={macs(GITHUB)[:40]}", MALFORMED),
    (GITHUB, f"sha256={macs(GITHUB).upper()}", MALFORMED),
    (GITHUB, f"sha256={macs(GITHUB)},sha256={macs(GITHUB)}", MALFORMED),
    (GITHUB, f"sha256={ZEROS}", WRONG),
    (BITBUCKET, f"sha256={ZEROS}", WRONG),
    (BITBUCKET, f"sha1={macs(BITBUCKET)[:40]}", MALFORMED),
    (SHOPIFY, "AAAA", MALFORMED),
    (SHOPIFY, "A" * 43 + "=", WRONG),
    (SHOPIFY, "A" * 42 + "B=", MALFORMED),
    (SHOPIFY, "A" * 43, MALFORMED),
    (SQUARE, "A" * 43 + "=", WRONG),
    (SQUARE, "A" * 86 + "==", MALFORMED),
    (SLACK, macs(SLACK), MALFORMED),
    (SLACK, f"v1={macs(SLACK)}", MALFORMED),
    (SLACK, f"v0={macs(SLACK).upper()}", MALFORMED),
    (SLACK, f"v0={macs(SLACK)},v0={macs(SLACK)}", MALFORMED),
    (SLACK, f"v0={ZEROS}", WRONG),
    (GITLAB_TOKEN, "It's a Secret to Everybod", WRONG),
    (GITLAB_TOKEN, "It's a Secret to Everybody ", WRONG),
    (GITLAB_TOKEN, "It's a Secret to Everybody!", WRONG),
    (GITLAB_TOKEN, "it's a secret to everybody", WRONG),
    (STRIPE, f"t={NOW}", MISSING),
    (STRIPE, f"t={NOW},v0={STRIPE_MAC}", MISSING),
    (STRIPE, f"t={NOW},V1={STRIPE_MAC}", MISSING),
    (STRIPE, f"v1={STRIPE_MAC}", TIME),
    (STRIPE, f"t={NOW},t={NOW},v1={STRIPE_MAC}", TIME),
    (STRIPE, f"t={NOW + 1},t={NOW},v1={STRIPE_MAC}", TIME),
    (STRIPE, f"t=,v1={STRIPE_MAC}", TIME),
    (STRIPE, f"t=0{NOW},v1={STRIPE_MAC}", TIME),
    (STRIPE, f"t={NOW}.0,v1={STRIPE_MAC}", TIME),
    (STRIPE, f"t=-{NOW},v1={STRIPE_MAC}", TIME),
    (STRIPE, f"t={NOW + 1},v1={STRIPE_MAC}", WRONG),
    (STRIPE, f"t={NOW},v1={ZEROS}", WRONG),
    (STRIPE, f"t={NOW},v1=", MALFORMED),
    (STRIPE, f"t={NOW},v1", MALFORMED),
    (STRIPE, f"t={NOW},,v1={STRIPE_MAC}", MALFORMED),
    (STRIPE, f"t={NOW},v1={STRIPE_MAC},", MALFORMED),
    (STRIPE, f"t={NOW},=x,v1={STRIPE_MAC}", MALFORMED),
    (STRIPE, f"t={NOW}, v1={STRIPE_MAC}", MISSING),
    (STRIPE, f"t={NOW};v1={STRIPE_MAC}", MISSING),
    (STRIPE, f"t={NOW},v1={STRIPE_MAC[:-2]},v1={STRIPE_MAC}", MALFORMED),
    (STRIPE, f"t={NOW},v1={STRIPE_MAC.upper()}", MALFORMED),
    (STRIPE, f"t={NOW}" + f",v1={ZEROS}" * 16 + f",v1={STRIPE_MAC}", MANY),
    (STRIPE, f"t={NOW}" + ",v0=x" * 16 + f",v1={STRIPE_MAC}", MANY),
    (STRIPE, f"t={NOW},v1={STRIPE_MAC}" + f",v1={ZEROS}" * 5000, MANY),
    (PADDLE, f"ts={NOW}", MISSING),
    (PADDLE, f"ts={NOW},h1={PADDLE_MAC}", MISSING),
    (PADDLE, f"t={NOW};h1={PADDLE_MAC}", TIME),
    (PADDLE, f"ts={NOW};ts={NOW};h1={PADDLE_MAC}", TIME),
    (PADDLE, f"ts={NOW};h1={ZEROS}", WRONG),
    (PADDLE, f"ts={NOW};h1={PADDLE_MAC};", MALFORMED),
    (PADDLE, f"ts={NOW}" + f";h1={ZEROS}" * 16 + f";h1={PADDLE_MAC}", MANY),
]


@pytest.mark.parametrize(("sender", "value", "reason"), REFUSED)
def test_invalid_signature_is_rejected_with_its_reason(
    sender: Sender, value: str, reason: Reason
) -> None:
    sent = with_header(sender.sent(), sender.signature, value.encode())
    assert sender.refusal(sent) is reason


@pytest.mark.parametrize(
    ("sender", "value"),
    [
        (STRIPE, f"v1={STRIPE_MAC},t={NOW}"),
        (STRIPE, f"t={NOW},v1={ZEROS},v1={STRIPE_MAC}"),
        (STRIPE, f"t={NOW},v1={STRIPE_MAC},v1={ZEROS},v0=anything"),
        (STRIPE, f"t={NOW}" + f",v1={ZEROS}" * 15 + f",v1={STRIPE_MAC}"),
        (PADDLE, f"ts={NOW};h1={ZEROS};h1={PADDLE_MAC}"),
        (PADDLE, f"ts={NOW};h2=anything;h1={PADDLE_MAC}"),
    ],
)
def test_one_valid_signature_of_several_is_enough(sender: Sender, value: str) -> None:
    sent = with_header(sender.sent(), sender.signature, value.encode())
    assert sender.verified(sent).key_id == "k1"


def test_timestamp_of_slack_must_be_canonical() -> None:
    for value in (f"0{NOW}", f"+{NOW}", f"{NOW}.0", f" {NOW}", ""):
        sent = with_header(SLACK.sent(), b"x-slack-request-timestamp", value.encode())
        assert SLACK.refusal(sent) is TIME


def test_old_delivery_is_stale_and_with_a_new_time_invalid() -> None:
    sent = SLACK.sent()
    later = NOW + 301
    assert SLACK.refusal(sent, now=later) is Reason.TIMESTAMP_TOO_OLD
    moved = with_header(sent, b"x-slack-request-timestamp", str(later).encode())
    assert SLACK.refusal(moved, now=later) is WRONG


def test_sha1_signature_of_github_is_ignored() -> None:
    sent = with_header(SHOPIFY.sent(), b"x-hub-signature", b"sha1=" + b"0" * 40)
    assert GITHUB.refusal(sent) is MISSING


def test_signature_of_github_is_rejected_for_bitbucket() -> None:
    assert BITBUCKET.refusal(GITHUB.sent()) is MISSING


def test_url_of_square_comes_from_the_configuration() -> None:
    elsewhere = scheme_for(Signing(name=SchemeName.SQUARE, url="https://other.example/hook"))
    sent = SQUARE.sent()
    hosted = replace(
        sent,
        headers=(
            *sent.headers,
            (b"host", b"hooks.shop.example"),
            (b"x-forwarded-host", b"hooks.shop.example"),
        ),
        target=b"/shop/payments",
    )
    assert SQUARE.verified(hosted).key_id == "k1"
    other = replace(SQUARE, scheme=elsewhere)
    assert other.refusal(hosted) is WRONG
    assert URL.endswith("/shop/payments")


def test_api_key_of_stripe_is_rejected_as_signing_secret() -> None:
    with pytest.raises(KeyFormatError, match="whsec_"):
        STRIPE.scheme.key("k1", b"sk_live_0123456789abcdef")


def test_prefix_of_stripes_secret_is_part_of_it() -> None:
    assert STRIPE.key.material == STRIPE.text


def test_token_must_be_ascii() -> None:
    with pytest.raises(KeyFormatError, match="ASCII"):
        GITLAB_TOKEN.scheme.key("k1", "größer als sechzehn".encode())


@pytest.mark.parametrize(("sender", "value", "reason"), REFUSED)
def test_error_quotes_nothing_of_the_delivery(sender: Sender, value: str, reason: Reason) -> None:
    sent = with_header(sender.sent(), sender.signature, value.encode())
    with pytest.raises(RefusedError) as caught:
        sender.verified(sent)
    for each in (ZEROS, macs(sender), sender.text.decode(), BODY.decode(), str(NOW)):
        assert each not in str(caught.value)
