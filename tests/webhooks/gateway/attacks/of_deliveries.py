"""What can be done with deliveries, by who has seen some, and by who has a clock, a proxy, or a key
of their own; and what can go wrong with all that a gateway needs.
"""

import asyncio
import base64
import hmac
import json
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, ExitStack, suppress
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from aiohttp.abc import ResolveResult

from sandbox.valkey import ValkeyServer
from tests.edge.loopback import Reply, Seen, Way
from tests.webhooks.gateway.attacks.observing import Act, Attack, Setting, Stage
from tests.webhooks.gateway.attacks.test_senders import FORGED
from tests.webhooks.gateway.attacks.wire import eventually
from tests.webhooks.gateway.running import (
    BODY,
    OTHER_SECRET,
    STRANGER,
    endpoint,
    head_of,
    secret,
    standing,
    target,
)
from tests.webhooks.gateway.test_certificates import (
    HOST,
    SIGNING,
    Resolver,
    amazon,
    fetching,
    is_loopback,
    message,
    trusting,
)
from tests.webhooks.schemes.test_http_signatures import public_pem
from troth.webhooks.endpoint import EndpointError
from troth.webhooks.gateway.certificates import Certificates
from troth.webhooks.gateway.source import Proxies
from troth.webhooks.gateway.valkey import Valkey
from troth.webhooks.schemes.addresses import Address
from troth.webhooks.schemes.delivery import Delivery
from troth.webhooks.schemes.encodings import to_base64
from troth.webhooks.schemes.signature_base import signature_base

TITLES = ("attack", "answers", "reason", "reached")
ATTACKS: dict[str, Attack] = {}


def attack(name: str, setting: Setting | None = None, **fixed: Any) -> Callable[[Act], Act]:
    """Enter into the table what is done, and to which gateway."""

    def enter(act: Act) -> Act:
        ATTACKS[name] = Attack(name, act, setting or (lambda _stack, _tmp: fixed))
        return act

    return enter


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


@attack("a signature that is wrong in its first byte, or in its last alone")
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


@attack("another's key")
async def _(stage: Stage) -> None:
    await stage.send(stage.at.sends(stage.at.document, OTHER_SECRET).signed())


@attack("17 signatures, 600, or 1,000, the last of them right")
async def _(stage: Stage) -> None:
    for count in (17, 600, 1000):
        delivery = stage.sender.signed()
        wrong = f"v1,{to_base64(bytes(32))}"
        many = " ".join([*[wrong] * (count - 1), signature_of(delivery)])
        await stage.send(with_header(delivery, "webhook-signature", many))


@attack("base64 with a spare bit set, without its end, or in the other alphabet")
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


@attack("v1 by whoever knows the public key of v1a", keys={"k1": "whpk_" + to_base64(_ED25519)})
async def _(stage: Stage) -> None:
    forger = stage.at.sends(stage.at.document, "whsec_" + to_base64(_ED25519))
    await stage.send(forger.signed())


@attack("another id, another time, or other bytes under an old signature")
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
GITHUB = {"name": "GitHub", "url": "https://hooks.example/shop/stripe"}


@attack(
    "a body that is not UTF-8, signed so; Stripe", signing=STRIPE, keys={"k1": "whsec_" + "a" * 32}
)
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


@attack("RFC 9421: a keyid, jku or x5u that leads to the attacker's key", **_shared())
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


# Once more


@attack("a delivery once more")
async def _(stage: Stage) -> None:
    delivery = stage.sender.signed()
    await stage.send(delivery)
    await stage.send(delivery)


@attack(
    "once more, with another id where the id is not signed", signing=GITHUB, keys={"k1": "a" * 20}
)
async def _(stage: Stage) -> None:
    delivery = stage.at.sends(stage.at.document, "a" * 20).signed()
    for number in range(2):
        await stage.send(with_header(delivery, "x-github-delivery", f"id-{number}"))


async def _held(stage: Stage, others: Any) -> None:
    """Have one at the target while the others come."""
    delivery = stage.sender.signed()
    stage.at.ledger.gate.clear()
    first = asyncio.create_task(stage.send(delivery))
    await eventually(lambda: stage.at.ledger.seen)
    await others(delivery)
    stage.at.ledger.gate.set()
    await first


def with_valkey(stack: ExitStack, _: Path) -> Mapping[str, Any]:
    return {"store": Valkey(stack.enter_context(ValkeyServer.serving()).url)}


@attack("99 more of one that is at its target", with_valkey)
async def _(stage: Stage) -> None:
    async def others(delivery: Delivery) -> None:
        await asyncio.gather(*(stage.send(delivery) for _ in range(99)))

    await _held(stage, others)


@attack("100 at once, to two replicas with one store")
async def _(stage: Stage) -> None:
    with ValkeyServer.serving() as server:
        async with AsyncExitStack() as stack:
            replicas = [
                await stack.enter_async_context(
                    standing(stage.tmp, Valkey(server.url), on=stage.at.ledger)
                )
                for _ in range(2)
            ]
            stage.at.ledger.gate.clear()
            delivery = replicas[0].sender.signed()
            sending = [
                asyncio.create_task(replicas[number % 2].sender.send(delivery))
                for number in range(100)
            ]
            await eventually(lambda: sum(each.done() for each in sending) == 99)
            stage.at.ledger.gate.set()
            stage.heard = sorted(str(each.status) for each in await asyncio.gather(*sending))


@attack("the replay store away, and back")
async def _(stage: Stage) -> None:
    with ValkeyServer.serving() as server:
        async with standing(stage.tmp, Valkey(server.url), on=stage.at.ledger) as at:
            delivery = at.sender.signed()
            for change in (lambda: server.stop(grace=0), server.restart):
                await asyncio.to_thread(change)
                stage.heard.append(str((await at.sender.send(delivery)).status))


# Who sends, and for whom


@attack(
    "X-Forwarded-For and its like, by who is no trusted proxy", source={"cidrs": ["192.0.2.0/24"]}
)
async def _(stage: Stage) -> None:
    for name in ("X-Forwarded-For", "X-Real-IP", "True-Client-IP"):
        await stage.send(stage.sender.signed(), (name, "192.0.2.1"))
    await stage.send(stage.sender.signed(), ("Forwarded", "for=192.0.2.1"))


@attack(
    "a forged address before the one that a trusted proxy adds",
    source={"cidrs": ["192.0.2.0/24"]},
    proxies=Proxies(["127.0.0.0/8"]),
)
async def _(stage: Stage) -> None:
    await stage.send(stage.sender.signed(), ("X-Forwarded-For", "192.0.2.1, 198.51.100.1"))


TWILIO = {"name": "Twilio", "url": "https://hooks.example/shop/stripe"}


@attack(
    "signed for another site's URL, with its Host; Twilio", signing=TWILIO, keys={"k1": "a" * 32}
)
async def _(stage: Stage) -> None:
    evil = stage.at.document | {"signing": TWILIO | {"url": "https://evil.example/shop/stripe"}}
    await stage.send(
        stage.at.sends(evil, "a" * 32).signed(b"{}"),
        ("X-Forwarded-Host", "evil.example"),
        ("X-Original-URL", "https://evil.example/shop/stripe"),
    )


@attack("Txn-Token, X-Forwarded-Client-Cert, baggage and others")
async def _(stage: Stage) -> str:
    fields = [each.decode().partition(": ") for each in FORGED if not each.startswith(b"Conn")]
    sent = {name.lower(): value for name, _, value in fields}
    await stage.send(stage.sender.signed(), *((name, value) for name, _, value in fields))
    (seen,) = stage.at.ledger.seen
    arrived = {name.lower(): value for name, value in seen.headers.items()}
    kept = sorted(name for name in sent if arrived.get(name) == sent[name])
    return f"with {', '.join(kept) or 'none of them'}"


# SNS names a certificate


async def _of_sns(stage: Stage, **changed: str) -> None:
    document, delivery = message(stage.at.ledger.server.port)
    stage.at.put(document)
    said = json.loads(delivery.body) | changed
    await stage.send(replace(delivery, body=json.dumps(said).encode()))


NOBODY = Resolver(["127.0.0.1"], 1)


@attack(
    "SNS: SigningCertURL at another host",
    certificates=Certificates(roots=trusting(), resolver=lambda: NOBODY),
)
async def _(stage: Stage) -> str:
    for url in (
        "https://evil.example/sns.pem",
        f"https://{HOST}.evil.example/a.pem",
        f"https://{HOST}@evil.example/a.pem",
        f"http://{HOST}/a.pem",
        "https://169.254.169.254/a.pem",
    ):
        await _of_sns(stage, SigningCertURL=url)
    return f"{len(NOBODY.asked)} looked up"


def _leading(to: str) -> Setting:
    """Where the host of SNS leads somewhere else."""

    def setting(stack: ExitStack, tmp: Path) -> Mapping[str, Any]:
        (tmp / "sns").mkdir()
        server = stack.enter_context(amazon(tmp / "sns"))
        stack.callback(lambda: _unasked(server.seen))
        resolver = Resolver([to], server.port)
        return {"certificates": Certificates(roots=trusting(), resolver=lambda: resolver)}

    return setting


def _unasked(seen: list[Any]) -> None:
    assert seen == []


for _name, _to in (("loopback", "127.0.0.1"), ("the metadata of a cloud", "169.254.169.254")):

    @attack(f"SNS: its host leads to {_name}", _leading(_to))
    async def _(stage: Stage) -> None:
        await _of_sns(stage)


class Rebound(Resolver):
    """Leads to where it should once, and inside from then on."""

    async def resolve(self, *asked: Any, **more: Any) -> list[ResolveResult]:
        found = await super().resolve(*asked, **more)
        self.addresses = ["169.254.169.254"]
        return found


def _rebinding(stack: ExitStack, tmp: Path) -> Mapping[str, Any]:
    (tmp / "sns").mkdir()
    resolver = Rebound(["127.0.0.1"], stack.enter_context(amazon(tmp / "sns")).port)
    of = Certificates(roots=trusting(), resolver=lambda: resolver, allowed=is_loopback)
    return {"certificates": of}


@attack("SNS: its host leads inside when it is looked up again (DNS rebinding)", _rebinding)
async def _(stage: Stage) -> None:
    await _of_sns(stage)


def _elsewhere(seen: Seen) -> Reply:
    if seen.path == "/other.pem":
        return Reply(200, (), SIGNING.pem)
    return Reply(302, (("Location", f"https://{HOST}/other.pem"),), b"")


def _redirecting(stack: ExitStack, tmp: Path) -> Mapping[str, Any]:
    (tmp / "sns").mkdir()
    return {"certificates": fetching(stack.enter_context(amazon(tmp / "sns", _elsewhere)))}


@attack("SNS: its host redirects", _redirecting)
async def _(stage: Stage) -> None:
    await _of_sns(stage)


# What goes wrong


@attack("the sender goes before the last byte")
async def _(stage: Stage) -> None:
    delivery = stage.sender.signed()
    await stage.say(head_of(delivery, length=len(BODY)) + BODY[:-1], leave=True)
    await eventually(stage.reasons)


@attack("the target is down, and back")
async def _(stage: Stage) -> None:
    way = Way(stage.at.ledger.server.port)
    way.open()
    port = int(way.url.rpartition(":")[2])
    stage.at.put(stage.at.document | {"target": target(port)})
    delivery = stage.sender.signed()
    way.close()
    await stage.send(delivery)
    way.open()
    await stage.send(delivery)
    way.close()


@attack("the target is slow, and the sender comes again", within=0.3)
async def _(stage: Stage) -> None:
    delivery = stage.sender.signed()
    stage.at.ledger.gate.clear()
    await stage.send(delivery)
    await stage.send(delivery)
    stage.at.ledger.gate.set()


@attack("the target answers 500, then 200")
async def _(stage: Stage) -> None:
    delivery = stage.sender.signed()
    stage.at.ledger.replies.append(Reply(500, (), b""))
    await stage.send(delivery)
    await stage.send(delivery)


@attack("the target redirects")
async def _(stage: Stage) -> None:
    stage.at.ledger.replies.append(Reply(307, (("Location", "/elsewhere"),), b""))
    await stage.send(stage.sender.signed())


@attack("another identity where the target should be", target_is=STRANGER)
async def _(stage: Stage) -> None:
    await stage.send(stage.sender.signed())


@attack("another endpoint's configuration malformed, or of this one's path")
async def _(stage: Stage) -> None:
    for broken in (
        endpoint("shop/broken", tolerance=0),
        endpoint("shop/thief", path="/shop/stripe"),
    ):
        with suppress(EndpointError):
            stage.at.put(broken, k1=secret(9))
    await stage.send(stage.sender.signed())


@attack("more than the rate", limits={"body": 4096, "requestsPerSecond": 1})
async def _(stage: Stage) -> None:
    forged = replace(stage.sender.signed(), body=b"{}")
    for _ in range(3):
        await stage.send(forged)
    for _ in range(3):
        await stage.send(stage.sender.signed())
