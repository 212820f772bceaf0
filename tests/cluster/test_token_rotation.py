"""Rotation of the token signing key under load, with an operator crash in every phase.

The judges are external: the answers to callers, the tokens that they present, and every state of
the bundles and of the issuer's Secret that the API server reports.
"""

import asyncio
import base64
import json
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tests import builders
from tests.builders import stamp
from tests.cluster.person import LONG, Manifest, until
from tests.cluster.stage import DOMAIN, Stage
from tests.cluster.tokens import hasty
from tests.cluster.tokens.node import BUNDLE
from tests.cluster.tokens.shop import Shop, opened
from tests.cluster.witness import Sight
from tests.issuer.running import claims
from troth.pki.keys.jwk import key_id
from troth.pki.keys.private import load_private_key
from troth.resources.references import Ref

LIFETIME = 10
"""Token lifetime in seconds; no token of `hasty` lives longer than 12."""
PROPAGATION = 4
"""Propagation delay in seconds: the node's lag, and one second between checks of the files."""
LAG = 1.5
HASTY = "tests.cluster.tokens.hasty"


@dataclass
class Load:
    """Calls without a pause, and their outcomes."""

    answers: int = 0
    failures: list[str] = field(default_factory=list)
    ended: bool = False

    async def call(self, client: httpx.AsyncClient) -> None:
        while not self.ended:
            try:
                answer = await client.get("/")
                if answer.status_code != 200:
                    self.failures.append(answer.text)
            except Exception as error:  # noqa: BLE001 - any error is a failed call
                self.failures.append(repr(error))
            self.answers += 1
            await asyncio.sleep(0.05)


def kid_of(token: str) -> str:
    header = token.partition(".")[0]
    kid: str = json.loads(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)))["kid"]
    return kid


def signing(secret: Manifest) -> str:
    """Return the kid of the signing key, as an issuer reads it."""
    key = load_private_key(base64.b64decode(secret["data"]["current.key"]))
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key_id(key.public_key())


def verified_with(bundle: Manifest) -> set[str]:
    """Return the kids in a bundle."""
    document = json.loads(bundle["data"]["bundle.json"])
    return {each["kid"] for each in document["keys"] if each["use"] == "jwt-svid"}


def moment(sight: Sight) -> float:
    """Return when a state was seen, as seconds since the epoch."""
    return sight.at + time.time() - time.monotonic()


TargetState = Callable[[Shop, str], Awaitable[bool]]
"""Returns whether a rotation away from a key has reached a point."""


def in_phase(name: str) -> TargetState:
    """Return a point that is reached when the status shows a phase."""

    async def reached(shop: Shop, _: str) -> bool:
        status = (await shop.person.the(DOMAIN, shop.domain)).get("status", {})
        return bool((status.get("tokenRotation") or {}).get("phase") == name)

    return reached


async def prepared(shop: Shop, _: str) -> bool:
    return "next.key" in (await shop.person.the("Secret", shop.keys))["data"]


async def activated(shop: Shop, first: str) -> bool:
    return await signing_now(shop) != first


async def retired(shop: Shop, first: str) -> bool:
    data = (await shop.person.the("Secret", shop.keys))["data"]
    return await activated(shop, first) and "retiring.jwk" not in data


POINTS = (prepared, in_phase("Distributing"), activated, in_phase("Retiring"), retired)


async def dies_at_every_point(shop: Shop, first: str) -> None:
    """Follow a rotation to its end, and kill the operator after each step."""
    for point in POINTS:
        await until(lambda: point(shop, first), bool, LONG)  # noqa: B023 - awaited at once
        await asyncio.to_thread(shop.operator.kill)
        await shop.another_operator(module=HASTY)
    await until(lambda: in_phase("Idle")(shop, first), bool)


async def signing_now(shop: Shop) -> str:
    return signing(await shop.person.the("Secret", shop.keys))


@pytest.mark.long
async def test_no_call_fails_in_a_key_rotation_with_a_crash_in_each_phase(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    annex = await stage.namespace()
    bundle = {"propagation": f"{PROPAGATION}s"}
    async with opened(
        stage, tmp_path / "shop", monkeypatch, module=HASTY, namespaces=[annex], bundle=bundle
    ) as shop:
        shop.node.lag = LAG
        payments, checkout = await shop.agreed(lifetime=f"{LIFETIME}s")
        await shop.issuer()
        first = await signing_now(shop)
        load = Load()
        async with shop.served(payments) as service, shop.calling(checkout, service) as client:
            calling = asyncio.create_task(load.call(client))
            await asyncio.sleep(1)
            spec = {"requestedAt": stamp(datetime.now(UTC) + timedelta(seconds=1))}
            await shop.person.put(builders.rotation(DOMAIN, stage.name, stage.own, **spec))
            await dies_at_every_point(shop, first)
            load.ended = True
            await calling
        assert not load.failures, load.failures[:3]
        assert load.answers > 100
        second = await signing_now(shop)
        tokens = set(service.presented)
        assert {kid_of(token) for token in tokens} == {first, second}
        bundles = {
            space: shop.node.states("ConfigMap", Ref(space, BUNDLE)) for space in stage.namespaces
        }
        assert len(bundles) == 2
        keys = shop.node.states("Secret", shop.keys)
        signed_first = next(each for each in keys if signing(each.manifest) == second)
        assert {signing(each.manifest) for each in keys} == {first, second}
        for states in bundles.values():
            published, dropped = course(states, first, second)
            # it signed nothing until every verifier could have read it
            assert signed_first.at - published.at >= PROPAGATION
            assert signed_first.version > published.version
            # the first key was published until the last token that it could have signed had expired
            ended = max(claims(token)["exp"] for token in tokens if kid_of(token) == first)
            assert moment(dropped) > ended
            last = hasty.MAX_LIFETIME + hasty.LEEWAY
            assert dropped.at - signed_first.at >= last.total_seconds()


def course(states: Iterable[Sight], first: str, second: str) -> tuple[Sight, Sight]:
    """Return when a bundle got the second key, and when it lost the first.

    Fail if the bundle ever has neither.
    """
    published, dropped = None, None
    for each in states:
        kids = verified_with(each.manifest)
        if published is None and second in kids:
            published = each
        if published is not None:
            assert second in kids
        if dropped is None and published is not None and first not in kids:
            dropped = each
        if dropped is not None:
            assert kids == {second}
    assert published
    assert dropped
    return published, dropped
