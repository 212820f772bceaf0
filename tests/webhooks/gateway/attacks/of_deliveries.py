"""Attacks with signed deliveries, and failures of the gateway's dependencies."""

import asyncio
import json
from collections.abc import Mapping
from contextlib import AsyncExitStack, ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from aiohttp.abc import ResolveResult

from sandbox.valkey import ValkeyServer
from tests.edge.loopback import ReceivedRequest, Reply, Way
from tests.webhooks.gateway.attacks import of_signatures
from tests.webhooks.gateway.attacks.observing import Attacks, Setting, Stage
from tests.webhooks.gateway.attacks.of_signatures import with_header
from tests.webhooks.gateway.attacks.test_senders import FORGED
from tests.webhooks.gateway.attacks.wire import eventually
from tests.webhooks.gateway.running import (
    BODY,
    STRANGER,
    endpoint,
    head_of,
    running_gateway,
    secret,
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
from troth.documents.webhook_endpoint import EndpointError
from troth.replay.valkey import Valkey
from troth.webhooks.gateway.certificates import Certificates
from troth.webhooks.gateway.connection.source import Proxies
from troth.webhooks.schemes.delivery import Delivery

ATTACKS = Attacks(of_signatures.ATTACKS)
"""Those, and these."""
attack = ATTACKS.enter
GITHUB = {"name": "GitHub", "url": "https://hooks.example/shop/stripe"}


# Once more


@attack("a copy of a delivery")
async def _(stage: Stage) -> None:
    delivery = stage.sender.signed()
    await stage.send(delivery)
    await stage.send(delivery)


@attack("a copy with another id, if the id is not signed", signing=GITHUB, keys={"k1": "a" * 20})
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


@attack("99 copies while the first is at its target", with_valkey)
async def _(stage: Stage) -> None:
    async def others(delivery: Delivery) -> None:
        await asyncio.gather(*(stage.send(delivery) for _ in range(99)))

    await _held(stage, others)


@attack("100 copies at once, to two replicas with one store")
async def _(stage: Stage) -> None:
    with ValkeyServer.serving() as server:
        async with AsyncExitStack() as stack:
            replicas = [
                await stack.enter_async_context(
                    running_gateway(stage.tmp, Valkey(server.url), on=stage.at.ledger)
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


@attack("the replay store unavailable, then available")
async def _(stage: Stage) -> None:
    with ValkeyServer.serving() as server:
        async with running_gateway(stage.tmp, Valkey(server.url), on=stage.at.ledger) as at:
            delivery = at.sender.signed()
            for change in (lambda: server.stop(grace=0), server.restart):
                await asyncio.to_thread(change)
                stage.heard.append(str((await at.sender.send(delivery)).status))


# Who sends, and for whom


@attack("X-Forwarded-For and similar, not from a trusted proxy", source={"cidrs": ["192.0.2.0/24"]})
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

    @attack(f"SNS: its host resolves to {_name}", _leading(_to))
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


@attack("SNS: its host resolves to an internal address the second time (DNS rebinding)", _rebinding)
async def _(stage: Stage) -> None:
    await _of_sns(stage)


def _elsewhere(seen: ReceivedRequest) -> Reply:
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


@attack("the sender disconnects before the last byte")
async def _(stage: Stage) -> None:
    delivery = stage.sender.signed()
    await stage.say(head_of(delivery, length=len(BODY)) + BODY[:-1], leave=True)
    await eventually(stage.reasons)


@attack("the target is down, then up")
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


@attack("the target is slow, and the sender tries again")
async def _(stage: Stage) -> None:
    """The gateway is connected before the short limit applies, so only the answer is late."""
    await stage.sender.sent()
    stage.at.ledger.seen.clear()
    stage.at.deliver.within = 1.0
    delivery = stage.sender.signed()
    stage.at.ledger.gate.clear()
    await stage.send(delivery)
    await stage.send(delivery)
    await eventually(lambda: stage.at.ledger.seen)
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


@attack("another identity at the target's address", target_is=STRANGER)
async def _(stage: Stage) -> None:
    await stage.send(stage.sender.signed())


@attack("another endpoint's configuration malformed, or for this one's path")
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
    served = stage.at.routes.find(stage.at.document["path"].encode())
    assert served is not None
    full = served.bucket._filled
    served.bucket._clock = lambda: full  # no time goes by
    forged = replace(stage.sender.signed(), body=b"{}")
    for _ in range(3):
        await stage.send(forged)
    for _ in range(3):
        await stage.send(stage.sender.signed())
