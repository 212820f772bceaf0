"""Foreign changes on a NATS: Troth restores its own grants and leaves foreign ones alone."""

import json
from datetime import timedelta
from typing import Any

import pytest

from tests.broker_builders import publisher
from tests.brokers.nats.stage import Stage, consume, granted, publish
from tests.builders import identity
from tests.messaging import policy, producer
from tests.reconcile.brokers.at_work import (
    CHECKOUT,
    CONSUMER,
    EVERY,
    FULFILMENT,
    MAIN,
    ORDERS,
    PUBLISHER,
    TOPIC,
    AtWork,
    at_work,
    market,
)
from troth.brokers.nats.jwt import Claims, Key, Kind
from troth.brokers.protocol import Batch
from troth.planning.brokers.work import ALLOW_REMOVALS
from troth.reconcile.status.stall_delay import DELAY
from troth.resources.references import Ref

VOLATILE = ("iss", "iat", "jti")


def foreign() -> list[Any]:
    """Return foreign signing keys: one without limits, and one with a scope like Troth's."""
    scope = {
        "kind": "user_scope",
        "key": Key.generate(Kind.ACCOUNT).public,
        "role": "reports",
        "template": {"pub": {"allow": ["prod.>"]}, "sub": {}, "subs": 7, "data": -1, "payload": -1},
        "description": "somebody's",
        "unknown": {"to": ["Troth"]},
    }
    return [Key.generate(Kind.ACCOUNT).public, scope]


def others(claims: Claims, known: list[Any]) -> str:
    """Return all of an account's foreign claims, byte for byte."""
    left = {name: value for name, value in claims.items() if name not in VOLATILE}
    left["nats"] = {
        **claims["nats"],
        "signing_keys": [each for each in claims["nats"]["signing_keys"] if each in known],
    }
    return json.dumps(left)


async def tamper(nats: Stage, principal: str, **template: Any) -> None:
    """Change a principal's permissions, as another administrator does."""
    claims = await nats.claims()
    (entry,) = (
        each
        for each in claims["nats"]["signing_keys"]
        if isinstance(each, dict) and each["role"] == principal
    )
    entry["template"] |= template
    await nats.push(claims)


async def test_removed_grant_is_restored_and_reported(nats: Stage) -> None:
    async with at_work(nats, market(nats)) as it:
        before = await nats.broker.observe()
        assert not await nats.broker.apply(Batch(removals=granted(publish(PUBLISHER, TOPIC))[:1]))
        assert await nats.broker.observe() != before
        await it.later(EVERY)
        assert await nats.broker.observe() == before
        assert len(it.notes("Repaired")) == 1
        await it.later(EVERY)
        assert len(it.notes("Repaired")) == 1


async def test_extra_permissions_of_a_troth_principal_are_removed(nats: Stage) -> None:
    async with at_work(nats, market(nats)) as it:
        before = await nats.broker.observe()
        await tamper(nats, CONSUMER, pub={"allow": ["prod.>"]}, sub={"allow": [">"]})
        assert await nats.broker.observe() != before
        await it.later(EVERY)
        assert await nats.broker.observe() == before
        assert len(it.notes("Repaired")) == 1


async def test_removed_credential_is_restored_unchanged(
    nats: Stage,
) -> None:
    async with at_work(nats, market(nats)) as it:
        before, data = await nats.claims(), it.data(CHECKOUT)
        claims = await nats.claims()
        claims["nats"]["signing_keys"] = []
        await nats.push(claims)
        await it.later(EVERY)
        after = await nats.claims()
        keys = [
            sorted(each["key"] for each in it_["nats"]["signing_keys"]) for it_ in (before, after)
        ]
        assert keys[0] == keys[1]
        assert it.data(CHECKOUT) == data
        assert await it.enters(data["user.creds"], data["inbox.prefix"])
        assert it.notes("Repaired")


async def test_foreign_users_are_never_changed(nats: Stage) -> None:
    claims, known = await nats.claims(), foreign()
    claims["nats"]["signing_keys"] = known
    claims["nats"]["revocations"] = {Key.generate(Kind.USER).public: 3}
    await nats.push(claims)
    before = others(await nats.claims(), known)
    async with at_work(nats, market(nats)) as it:
        assert it.condition_of("MessageBroker", MAIN, "InSync")[:2] == ("True", "InSync")
        assert it.server.objects["MessageBroker", MAIN]["status"]["foreignGrants"] > 0
        assert others(await nats.claims(), known) == before
        await it.delete("ServiceIdentity", CHECKOUT)
        await it.later(EVERY)
        await it.delete("MessageBroker", MAIN)
        assert others(await nats.claims(), known) == before
        assert (await nats.claims())["nats"]["signing_keys"] == known


async def test_only_grants_that_match_the_declaration_are_adopted(nats: Stage) -> None:
    """Another administrator made a declared principal and one unknown to Troth."""
    wanted, wider = publish(PUBLISHER, TOPIC), publish("troth-shop.other", "prod.secret")
    await nats.give([PUBLISHER, "troth-shop.other"], wanted, wider)
    async with at_work(nats, market(nats)) as it:
        assert set(granted(wanted)) <= it.ledger.rules
        assert not set(granted(wider)) & it.ledger.rules
        assert set(granted(wider)) <= (await nats.broker.observe()).rules
        status, reason, message = it.condition_of("MessageBroker", MAIN, "InSync")
        assert (status, reason) == ("False", "Unaccounted")
        assert "troth-shop.other" in message


@pytest.mark.parametrize("mode", ["Observe", "Plan"])
async def test_only_a_status_is_written_without_enforcement(nats: Stage, mode: str) -> None:
    pushes = await nats.pushes()
    async with at_work(nats, market(nats, mode=mode)) as it:
        await it.later(EVERY)
        assert await pushes() == 0
        assert not any("ledger" in str(ref) or "main" in ref.name for _, ref in written(it))
        assert not it.server.objects["MessageBroker", MAIN]["metadata"].get("finalizers")
        assert not it.server.objects["TopicPolicy", ORDERS]["metadata"].get("finalizers")
        status, reason, message = it.condition_of("MessageBroker", MAIN, "InSync")
        assert (status, reason) == ("False", "NotEnforced")
        assert mode in message
        assert it.server.objects["MessageBroker", MAIN]["status"]["missingGrants"] == 3
        await it.edit("MessageBroker", MAIN, mode="Enforce")
        assert it.condition_of("MessageBroker", MAIN, "Ready")[:2] == ("True", "InPlace")


def written(it: AtWork) -> list[tuple[str, Ref]]:
    return [place for place in it.server.log if place[0] in ("ConfigMap", "Secret")]


async def test_enforced_grants_stay_when_the_mode_changes_to_observe(nats: Stage) -> None:
    async with at_work(nats, market(nats)) as it:
        before, ledger, client = await nats.account_jwt(), it.ledger, await it.client(CHECKOUT)
        data = it.data(CHECKOUT)
        await it.edit("MessageBroker", MAIN, mode="Observe")
        await it.put(identity("checkout"))
        await it.later(EVERY)
        assert await nats.account_jwt() == before
        assert it.ledger == ledger
        assert it.data(CHECKOUT) == data
        assert client.is_connected
        assert it.server.objects["MessageBroker", MAIN]["status"]["surplusGrants"] > 0
        await it.edit("MessageBroker", MAIN, mode="Enforce")
        assert client.is_closed


def many(count: int) -> list[Any]:
    """Return policies that each grant `checkout` to publish one topic."""
    return [
        policy(f"p{each}", topic={"name": f"prod.t{each}"}, producers=[producer("checkout")])
        for each in range(count)
    ]


async def test_removals_beyond_the_brake_wait_until_a_user_allows_them(
    nats: Stage,
) -> None:
    policies = many(21)
    names = [each["metadata"]["name"] for each in policies]
    declared = market(nats, *policies, publisher("checkout", "orders", *names))
    async with at_work(nats, declared) as it:
        before = await nats.broker.observe()
        await it.put(publisher("checkout", "orders"))  # by mistake
        status, reason, message = it.condition_of("MessageBroker", MAIN, "InSync")
        assert (status, reason) == ("False", "Braked")
        assert ALLOW_REMOVALS in message
        assert it.condition_of("MessageBroker", MAIN, "Braked")[0] == "True"
        assert it.server.objects["MessageBroker", MAIN]["status"]["brakedRemovals"] == 21
        await it.later(timedelta(seconds=DELAY))  # it stalls
        writes = it.server.writes
        await it.later(EVERY)
        assert it.server.writes == writes
        assert await nats.broker.observe() == before
        await it.annotate(MAIN, **{ALLOW_REMOVALS: "20"})
        assert await nats.broker.observe() == before
        await it.annotate(MAIN, **{ALLOW_REMOVALS: "21"})
        seen = await nats.broker.observe()
        assert set(granted(publish(PUBLISHER, TOPIC))) <= seen.rules
        assert not any(rule.name.startswith("prod.t") for rule in seen.rules)
        assert it.condition_of("MessageBroker", MAIN, "Ready")[:2] == ("True", "InPlace")


async def test_identity_removal_beyond_the_brake_waits_as_a_whole(
    nats: Stage,
) -> None:
    policies = many(21)
    names = [each["metadata"]["name"] for each in policies]
    declared = market(nats, *policies, publisher("checkout", *names))
    async with at_work(nats, declared) as it:
        data = it.data(CHECKOUT)
        await it.delete("ServiceIdentity", CHECKOUT)
        assert it.condition_of("MessageBroker", MAIN, "InSync")[1] == "Braked"
        assert await it.enters(data["user.creds"], data["inbox.prefix"])
        await it.annotate(MAIN, **{ALLOW_REMOVALS: "22"})
        assert not await it.enters(data["user.creds"], data["inbox.prefix"])
        assert {rule.principal for rule in it.ledger.rules} == {CONSUMER}


async def test_forged_secret_grants_nothing(nats: Stage) -> None:
    """A user who may write Secrets in a namespace writes one with a foreign principal."""
    await nats.broker.apply(
        Batch((nats.issue("stranger"),), granted(publish("stranger", "prod.x")))
    )
    async with at_work(nats, market(nats)) as it:
        before = await nats.account_jwt()
        other = json.loads(it.data(FULFILMENT)["troth.json"])
        forged = it.secret_saying(CHECKOUT, principal=other["principal"], current=other["current"])
        kept = it.ledger
        elsewhere = {
            **forged,
            "metadata": {**forged["metadata"], "name": "mine", "uid": "", "namespace": "messaging"},
        }
        await it.put(elsewhere)
        await it.later(EVERY)
        assert await nats.account_jwt() == before
        assert it.ledger == kept
        await it.put(forged)  # in place of the own Secret: Troth replaces it
        await it.later(EVERY)
        assert json.loads(it.data(CHECKOUT)["troth.json"])["principal"] == PUBLISHER
        assert {place for place in it.ledger.credentials if place[0] == CONSUMER} == {
            place for place in kept.credentials if place[0] == CONSUMER
        }
        seen = await nats.broker.observe()
        assert set(granted(consume(CONSUMER, TOPIC, "fulfilment"))) == {
            rule for rule in seen.rules if rule.principal == CONSUMER
        }
        assert set(granted(publish(PUBLISHER, TOPIC))) == {
            rule for rule in seen.rules if rule.principal == PUBLISHER
        }
