"""Attacks on the time and the signature of a delivery."""

import asyncio
import base64
import hmac
import json
from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest

from tests.webhooks.gateway.attacks.observing import Attacks, Stage
from tests.webhooks.gateway.running import (
    BODY,
    OTHER_SECRET,
)
from tests.webhooks.schemes.providers.test_http_signatures import public_pem
from troth.webhooks.schemes.delivery import Delivery
from troth.webhooks.schemes.fields.addresses import Address
from troth.webhooks.schemes.fields.encodings import to_base64
from troth.webhooks.schemes.providers.http_signatures.signature_base import signature_base

ATTACKS = Attacks()
attack = ATTACKS.enter


def with_header(delivery: Delivery, name: str, value: str) -> Delivery:
    kept = tuple(each for each in delivery.headers if each[0] != name.encode())
    return replace(delivery, headers=(*kept, (name.encode(), value.encode())))


def signature_of(delivery: Delivery) -> str:
    return delivery.header(b"webhook-signature")


# Time


async def _aged(stage: Stage, *ages: float) -> None:
    stage.at.clock.still = 1_800_000_000
    for age in ages:
        await stage.send(stage.sender.signed(age=age))


@attack("signed 300 s ago, or 300 s ahead, with a tolerance of 300 s")
async def _(stage: Stage) -> None:
    await _aged(stage, 300, -300)


@attack("signed 301 s ago, or an hour")
async def _(stage: Stage) -> None:
    await _aged(stage, 301, 3600)


@attack("signed 301 s ahead, or an hour")
async def _(stage: Stage) -> None:
    await _aged(stage, -301, -3600)


@attack("a gateway whose clock is 6 min fast, or 6 min slow")
async def _(stage: Stage) -> None:
    for skew in (360, -360):
        delivery = stage.sender.signed()
        stage.at.clock.ahead = skew
        await stage.send(delivery)
        stage.at.clock.ahead = 0


@attack("a time that is negative, a fraction, of 40 digits, or a word")
async def _(stage: Stage) -> None:
    for text in ("-1", "1800000000.5", "1" * 40, "now"):
        await stage.send(with_header(stage.sender.signed(), "webhook-timestamp", text))


# Signatures


@attack("no signature, or an empty one")
async def _(stage: Stage) -> None:
    delivery = stage.sender.signed()
    kept = tuple(each for each in delivery.headers if each[0] != b"webhook-signature")
    await stage.send(replace(delivery, headers=kept))
    await stage.send(with_header(delivery, "webhook-signature", ""))


@attack("half a signature")
async def _(stage: Stage) -> None:
    delivery = stage.sender.signed()
    await stage.send(with_header(delivery, "webhook-signature", signature_of(delivery)[:24]))


@attack("a signature with only its first, or only its last byte wrong")
async def _(stage: Stage) -> str:
    compared: list[int] = []

    def counting(one: bytes, other: bytes) -> bool:
        compared.append(len(one))
        return same(one, other)

    delivery, same = stage.sender.signed(), hmac.compare_digest
    right = base64.b64decode(signature_of(delivery).removeprefix("v1,"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hmac.compare_digest", counting)
        for wrong in (bytes([right[0] ^ 1]) + right[1:], right[:-1] + bytes([right[-1] ^ 1])):
            text = f"v1,{to_base64(wrong)}"
            await stage.send(with_header(delivery, "webhook-signature", text))
    return f"{len(compared)} comparisons in constant time"


@attack("a key of another sender")
async def _(stage: Stage) -> None:
    await stage.send(stage.at.sends(stage.at.document, OTHER_SECRET).signed())


@attack("17 signatures, 600, or 1,000, the last one correct")
async def _(stage: Stage) -> None:
    for count in (17, 600, 1000):
        delivery = stage.sender.signed()
        wrong = f"v1,{to_base64(bytes(32))}"
        many = " ".join([*[wrong] * (count - 1), signature_of(delivery)])
        await stage.send(with_header(delivery, "webhook-signature", many))


@attack("base64 with a spare bit set, truncated, or in the other alphabet")
async def _(stage: Stage) -> None:
    delivery = stage.sender.signed()
    right = signature_of(delivery)
    last = right[-2]
    digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    spare = right[:-2] + digits[digits.index(last) + 1] + "="
    url_safe = base64.urlsafe_b64encode(b"\xff" * 32).decode()
    for text in (spare, right.rstrip("="), f"v1,{url_safe}"):
        await stage.send(with_header(delivery, "webhook-signature", text))


_ED25519 = bytes(range(32))


@attack("v1 signed with the public key of v1a", keys={"k1": "whpk_" + to_base64(_ED25519)})
async def _(stage: Stage) -> None:
    forger = stage.at.sends(stage.at.document, "whsec_" + to_base64(_ED25519))
    await stage.send(forger.signed())


@attack("an old signature with another id, another time, or other bytes")
async def _(stage: Stage) -> None:
    delivery = stage.sender.signed()
    await stage.send(with_header(delivery, "webhook-id", "msg_2"))
    later = int(delivery.header(b"webhook-timestamp")) + 1
    await stage.send(with_header(delivery, "webhook-timestamp", str(later)))
    await stage.send(replace(delivery, body=BODY.replace(b"42", b"43")))


@attack("the same JSON in other bytes, or in UTF-16")
async def _(stage: Stage) -> None:
    delivery = stage.sender.signed()
    await stage.send(replace(delivery, body=json.dumps(json.loads(BODY), indent=1).encode()))
    await stage.send(replace(delivery, body=BODY.decode().encode("utf-16")))


STRIPE = {"name": "Stripe", "url": "https://hooks.example/shop/stripe"}


@attack("a signed body that is not UTF-8; Stripe", signing=STRIPE, keys={"k1": "whsec_" + "a" * 32})
async def _(stage: Stage) -> None:
    sender = stage.at.sends(stage.at.document, "whsec_" + "a" * 32)
    await stage.send(replace(sender.signed(b'{"id": "evt_\xff"}'), target=b"/shop/stripe"))


# Signed by an algorithm or with a key that the attacker names

RFC9421 = {"name": "HTTPSignatures", "url": "https://hooks.example/shop/stripe"}
SHARED = bytes(range(32))


def _by_hand(now: float, more: str, key: bytes = SHARED, *, mac: bool = True) -> Delivery:
    """A request that says `more` of how it is signed, and is signed with a shared secret."""
    digest = (b"content-digest", f"sha-256=:{to_base64(sha256(BODY).digest())}:".encode())
    bare = Delivery("POST", b"/shop/stripe", (digest,), BODY)
    covered = ("@method", "@target-uri", "content-digest")
    names = " ".join(f'"{each}"' for each in covered)
    text = f"({names});created={int(now)}{more}"
    base = signature_base(bare, Address.parse(RFC9421["url"]), covered, text)
    signature = to_base64(hmac.digest(key, base, "sha256")) if mac else ""
    given = [("signature-input", f"sig1={text}"), ("signature", f"sig1=:{signature}:")]
    return bare.with_headers(given)


def _shared(**setting: Any) -> Mapping[str, Any]:
    return {"signing": RFC9421, "keys": {"k1": f"hmac-sha256:{to_base64(SHARED)}"}, **setting}


@attack("RFC 9421: alg=none, without a signature and with one", **_shared())
async def _(stage: Stage) -> None:
    now = stage.at.clock()
    await stage.send(_by_hand(now, ';alg="none"', mac=False))
    await stage.send(_by_hand(now, ';alg="none"'))


@attack(
    "RFC 9421: a MAC made with the public key of the sender",
    signing=RFC9421,
    keys={"k1": public_pem("ed25519").decode()},
)
async def _(stage: Stage) -> None:
    now = stage.at.clock()
    for said in ("", ';alg="hmac-sha256"', ';alg="ed25519"'):
        await stage.send(_by_hand(now, said, public_pem("ed25519")))


@attack("RFC 9421: a keyid, jku or x5u that names the attacker's key", **_shared())
async def _(stage: Stage) -> None:
    asked = 0

    async def tempt(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        writer.close()

    async with await asyncio.start_server(tempt, "127.0.0.1", 0) as elsewhere:
        url = f"http://127.0.0.1:{elsewhere.sockets[0].getsockname()[1]}/key"
        for name in ("keyid", "jku", "x5u"):
            await stage.send(_by_hand(stage.at.clock(), f';{name}="{url}"', bytes(32)))
        await stage.send(_by_hand(stage.at.clock(), ';keyid="../../etc/passwd"', bytes(32)))
    assert asked == 0
