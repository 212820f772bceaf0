"""Published vectors of the senders are verified and reproduced."""

from dataclasses import replace

import pytest

from tests.webhooks.schemes.senders import (
    BITBUCKET,
    GITHUB,
    PADDLE,
    PLAIN,
    SLACK,
    V1,
    V1A,
    WHPK,
    WHSEC,
    WHSK,
    Sender,
    with_header,
)
from troth.webhooks.schemes.delivery import Delivery
from troth.webhooks.schemes.scheme import Stamp

STANDARD = Stamp(1614265330, "msg_p5jXN8AQM9LWM0D4loKWxJek")
STANDARD_BODY = b'{"test": 2432232314}'
V1A_SIGNATURE = (
    b"v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg=="
)

# The standardwebhooks libraries' own tests; GitHub, "Validating webhook deliveries"; Bitbucket,
# "Manage webhooks"; Paddle, "Verify webhook signatures"; Slack, "Verifying requests from Slack".
VECTORS = [
    pytest.param(
        V1,
        WHSEC,
        STANDARD,
        STANDARD_BODY,
        b"v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        id="Standard Webhooks v1",
    ),
    pytest.param(V1A, WHSK, STANDARD, STANDARD_BODY, V1A_SIGNATURE, id="Standard Webhooks v1a"),
    pytest.param(
        GITHUB,
        PLAIN,
        Stamp(0, "any"),
        b"Hello, World!",
        b"sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
        id="GitHub",
    ),
    pytest.param(
        BITBUCKET,
        PLAIN,
        Stamp(0, "any"),
        b"Hello World!",
        b"sha256=a4771c39fbe90f317c7824e83ddef3caae9cb3d976c214ace1f2937e133263c9",
        id="Bitbucket and Jira",
    ),
    pytest.param(
        PADDLE,
        b"pdl_ntf_01hbpjmytsa32fhr36nqgc3kgb_WvRO0eL4Bj9rgYYIBZY6wZhG4EHy9jzh",
        Stamp(1696195954, "any"),
        b"hello-world",
        b"ts=1696195954;h1=d96299976a6eb066f484d7fde011ac56fc32b38fc9940bc419d6e537fdc6ef02",
        id="Paddle",
    ),
    pytest.param(
        SLACK,
        b"8f742231b10e8888abcd99yyyzzz85a5",
        Stamp(1531420618, "any"),
        b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow"
        b"&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner"
        b"&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands"
        b"%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015"
        b".47445629121.803a0bc887a14d10d2c447fce8b6703c",
        b"v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
        id="Slack",
    ),
]


@pytest.mark.parametrize(("sender", "text", "stamp", "body", "signature"), VECTORS)
def test_published_vectors_are_signed_and_verified(
    sender: Sender, text: bytes, stamp: Stamp, body: bytes, signature: bytes
) -> None:
    theirs = replace(sender, text=text)
    signed = theirs.sent(body, stamp)
    assert list(signed.values(sender.signature)) == [signature]
    bare = Delivery("POST", b"/", signed.headers, body)
    sent = with_header(bare, sender.signature, signature)
    assert theirs.verified(sent, now=stamp.now).key_id == "k1"


def test_public_key_verifies_the_private_keys_signature() -> None:
    public = replace(V1A, text=WHPK)
    sent = V1A.sent(STANDARD_BODY, STANDARD)
    assert public.verified(sent, now=STANDARD.now).delivery_id == STANDARD.delivery_id
