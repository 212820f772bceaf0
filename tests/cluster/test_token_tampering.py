"""Tampering with the issuer's inputs: deleted, edited or foreign ones are restored or reported."""

import base64
import gzip
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests import builders
from tests.cluster.person import Manifest, condition, until, version
from tests.cluster.stage import DOMAIN, Stage
from tests.cluster.tokens.shop import ADMIN, CHARGE, Shop, opened
from tests.issuer.running import claims
from troth.resources.references import Ref


@pytest.fixture
async def shop(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Shop]:
    async with opened(stage, tmp_path / "shop", monkeypatch) as started:
        yield started


async def settled(shop: Shop) -> Manifest:
    """Return the issuer's Secret once it is complete."""
    await shop.agreed()

    def whole(secret: Manifest) -> bool:
        return CHARGE in json.dumps(view_of(secret))

    return await shop.person.sees("Secret", shop.keys, whole)


def view_of(secret: Manifest) -> Manifest:
    text = secret["data"].get("view.json.gz")
    view: Manifest = json.loads(gzip.decompress(base64.b64decode(text))) if text else {}
    return view


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def widened(secret: Manifest, shop: Shop) -> str:
    """Return the issuer configuration with an additional scope."""
    view = view_of(secret)
    checkout = view["callers"][shop.workload(Ref(shop.stage.shop, "checkout"))]
    for audience in checkout["audiences"].values():
        audience["scopes"].append(ADMIN)
    return encoded(gzip.compress(json.dumps(view).encode()))


async def repairs(shop: Shop) -> int:
    """Return the number of Events that report a restored object."""
    events = await shop.person.events("default")  # Events of cluster-scoped objects
    return events.count(("Repaired", shop.domain.name))


@pytest.mark.parametrize(
    "edit", ["a view with a scope more", "half a view", "no view", "no bundle"]
)
async def test_manual_edit_is_restored_with_one_write_and_reported(shop: Shop, edit: str) -> None:
    before = await settled(shop)
    data = {
        "a view with a scope more": {"view.json.gz": widened(before, shop)},
        "half a view": {"view.json.gz": before["data"]["view.json.gz"][:40]},
        "no view": {"view.json.gz": None},
        "no bundle": {"bundle.json": None},
    }[edit]
    edited = await shop.person.edit("Secret", shop.keys, {"data": data})
    after = await shop.person.sees("Secret", shop.keys, lambda seen: seen["data"] == before["data"])
    versions = [int(version(each)) for each in (edited, after)]

    async def seen() -> list[int]:
        return [each.version for each in shop.node.states("Secret", shop.keys)]

    states = await until(seen, lambda found: versions[-1] in found)
    assert [each for each in states if each >= versions[0]] == versions
    assert await until(lambda: repairs(shop), bool) == 1


async def test_deleted_key_is_made_again_and_callers_recover(
    shop: Shop,
) -> None:
    payments, checkout = await shop.agreed()
    await shop.issuer()
    async with shop.served(payments) as service, shop.calling(checkout, service) as client:
        assert (await client.get("/")).status_code == 200
        # the new key signs only after that
        await shop.person.edit(DOMAIN, shop.domain, {"spec": {"bundle": {"propagation": "5s"}}})
        before = await shop.person.the("Secret", shop.keys)
        await shop.person.delete("Secret", shop.keys)
        after = await shop.person.sees(
            "Secret", shop.keys, lambda seen: CHARGE in json.dumps(view_of(seen))
        )
        assert after["data"]["current.key"] != before["data"]["current.key"]
        message = await shop.person.hears(
            DOMAIN, shop.domain, "TokensReady", "TokenKeyReplaced", "True"
        )
        assert "verifiers reject tokens of the previous one" in message
        (old,) = service.presented

        async def served_anew() -> bool:
            good = (await client.get("/")).status_code == 200
            return good and service.presented[-1] != old

        await until(served_anew, bool)
        assert claims(service.presented[-1])["iss"] == shop.url
        events = await shop.person.events("default")
        assert ("TokenKeyReplaced", shop.domain.name) in events


async def test_foreign_secret_in_its_place_is_reported_and_not_changed(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = Ref(stage.own, f"{stage.name}-tokens")
    foreign = builders.secret(keys.name, keys.namespace, current_key=b"another program's own")
    await stage.person.put(foreign)
    before = await stage.person.the("Secret", keys)
    async with opened(stage, tmp_path / "shop", monkeypatch) as shop:
        message = await shop.person.hears(DOMAIN, shop.domain, "TokensReady", "Conflict", "False")
        assert message == (
            f"Secret {keys} is not managed by Troth, so it was not changed; rename it or delete it"
        )
        domain = await shop.person.the(DOMAIN, shop.domain)
        assert condition(domain, "Ready")["status"] == "False"
        assert version(await stage.person.the("Secret", keys)) == version(before)

        # the bundle may be older than the key, which then signs only after the propagation
        await shop.person.edit(DOMAIN, shop.domain, {"spec": {"bundle": {"propagation": "5s"}}})
        await stage.person.delete("Secret", keys)
        await shop.person.hears(DOMAIN, shop.domain, "TokensReady", "Active", "True")
        await shop.person.ready(DOMAIN, shop.domain)
