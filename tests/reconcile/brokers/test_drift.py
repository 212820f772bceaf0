"""What somebody else does at a NATS: put right where it is Troth's, left alone where it is not."""

import json
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
from troth.resources.references import Ref

VOLATILE = ("iss", "iat", "jti")


def foreign() -> list[Any]:
    """Signing keys of others: one that may do anything, and one with a scope like Troth's."""
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
    """All of an account's claims that are not Troth's, byte for byte."""
    left = {name: value for name, value in claims.items() if name not in VOLATILE}
    left["nats"] = {
        **claims["nats"],
        "signing_keys": [each for each in claims["nats"]["signing_keys"] if each in known],
    }
    return json.dumps(left)


async def tamper(nats: Stage, principal: str, **template: Any) -> None:
    """Change what a principal may do, as another administrator does."""
    claims = await nats.claims()
    (entry,) = (
        each
        for each in claims["nats"]["signing_keys"]
        if isinstance(each, dict) and each["role"] == principal
    )
    entry["template"] |= template
    await nats.push(claims)


async def test_what_is_taken_away_is_put_back_and_told(nats: Stage) -> None:
    async with at_work(nats, market(nats)) as it:
        before = await nats.broker.observe()
        assert not await nats.broker.apply(Batch(removals=granted(publish(PUBLISHER, TOPIC))[:1]))
        assert await nats.broker.observe() != before
        await it.later(EVERY)
        assert await nats.broker.observe() == before
        assert len(it.notes("Repaired")) == 1
        await it.later(EVERY)
        assert len(it.notes("Repaired")) == 1


async def test_what_a_principal_of_troths_is_given_beside_is_taken_away(nats: Stage) -> None:
    async with at_work(nats, market(nats)) as it:
        before = await nats.broker.observe()
        await tamper(nats, CONSUMER, pub={"allow": ["prod.>"]}, sub={"allow": [">"]})
        assert await nats.broker.observe() != before
        await it.later(EVERY)
        assert await nats.broker.observe() == before
        assert len(it.notes("Repaired")) == 1


async def test_a_credential_that_is_taken_away_is_put_back_and_is_the_one_it_was(
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


async def test_foreign_users_are_as_they_were_whatever_is_done(nats: Stage) -> None:
    claims, known = await nats.claims(), foreign()
    claims["nats"]["signing_keys"] = known
    claims["nats"]["revocations"] = {Key.generate(Kind.USER).public: 3}
    await nats.push(claims)
    before = others(await nats.claims(), known)
    async with at_work(nats, market(nats)) as it:
        assert it.told("MessageBroker", MAIN, "InSync")[:2] == ("True", "InSync")
        assert it.server.objects["MessageBroker", MAIN]["status"]["foreignGrants"] > 0
        assert others(await nats.claims(), known) == before
        await it.delete("ServiceIdentity", CHECKOUT)
        await it.later(EVERY)
        await it.delete("MessageBroker", MAIN)
        assert others(await nats.claims(), known) == before
        assert (await nats.claims())["nats"]["signing_keys"] == known


async def test_only_what_is_just_as_declared_is_taken_in(nats: Stage) -> None:
    """Somebody has already made a principal of that name, and one that Troth knows nothing of."""
    wanted, wider = publish(PUBLISHER, TOPIC), publish("troth-shop.other", "prod.secret")
    await nats.give([PUBLISHER, "troth-shop.other"], wanted, wider)
    async with at_work(nats, market(nats)) as it:
        assert set(granted(wanted)) <= it.ledger.rules
        assert not set(granted(wider)) & it.ledger.rules
        assert set(granted(wider)) <= (await nats.broker.observe()).rules
        status, reason, message = it.told("MessageBroker", MAIN, "InSync")
        assert (status, reason) == ("False", "Unaccounted")
        assert "troth-shop.other" in message


@pytest.mark.parametrize("mode", ["Observe", "Plan"])
async def test_where_nothing_is_enforced_nothing_is_written_but_a_status(
    nats: Stage, mode: str
) -> None:
    pushes = await nats.pushes()
    async with at_work(nats, market(nats, mode=mode)) as it:
        await it.later(EVERY)
        assert await pushes() == 0
        assert not any("ledger" in str(ref) or "main" in ref.name for _, ref in written(it))
        assert not it.server.objects["MessageBroker", MAIN]["metadata"].get("finalizers")
        assert not it.server.objects["TopicPolicy", ORDERS]["metadata"].get("finalizers")
        status, reason, message = it.told("MessageBroker", MAIN, "InSync")
        assert (status, reason) == ("False", "NotEnforced")
        assert mode in message
        assert it.server.objects["MessageBroker", MAIN]["status"]["missingGrants"] == 3
        await it.edit("MessageBroker", MAIN, mode="Enforce")
        assert it.told("MessageBroker", MAIN, "Ready")[:2] == ("True", "InPlace")


def written(it: AtWork) -> list[tuple[str, Ref]]:
    return [place for place in it.server.log if place[0] in ("ConfigMap", "Secret")]


async def test_what_was_enforced_stays_once_it_is_only_observed(nats: Stage) -> None:
    async with at_work(nats, market(nats)) as it:
        before, ledger, client = await nats.standing(), it.ledger, await it.client(CHECKOUT)
        data = it.data(CHECKOUT)
        await it.edit("MessageBroker", MAIN, mode="Observe")
        await it.put(identity("checkout"))
        await it.later(EVERY)
        assert await nats.standing() == before
        assert it.ledger == ledger
        assert it.data(CHECKOUT) == data
        assert client.is_connected
        assert it.server.objects["MessageBroker", MAIN]["status"]["surplusGrants"] > 0
        await it.edit("MessageBroker", MAIN, mode="Enforce")
        assert client.is_closed


def many(count: int) -> list[Any]:
    """One policy that grants `checkout` to publish, for each of so many topics."""
    return [
        policy(f"p{each}", topic={"name": f"prod.t{each}"}, producers=[producer("checkout")])
        for each in range(count)
    ]


async def test_removals_beyond_the_brake_wait_until_a_person_lets_just_them_pass(
    nats: Stage,
) -> None:
    policies = many(21)
    names = [each["metadata"]["name"] for each in policies]
    declared = market(nats, *policies, publisher("checkout", "orders", *names))
    async with at_work(nats, declared) as it:
        before = await nats.broker.observe()
        await it.put(publisher("checkout", "orders"))  # by mistake
        status, reason, message = it.told("MessageBroker", MAIN, "InSync")
        assert (status, reason) == ("False", "Braked")
        assert ALLOW_REMOVALS in message
        assert it.told("MessageBroker", MAIN, "Braked")[0] == "True"
        assert it.server.objects["MessageBroker", MAIN]["status"]["brakedRemovals"] == 21
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
        assert it.told("MessageBroker", MAIN, "Ready")[:2] == ("True", "InPlace")


async def test_an_identity_that_goes_with_more_than_the_brake_lets_pass_waits_whole(
    nats: Stage,
) -> None:
    policies = many(21)
    names = [each["metadata"]["name"] for each in policies]
    declared = market(nats, *policies, publisher("checkout", *names))
    async with at_work(nats, declared) as it:
        data = it.data(CHECKOUT)
        await it.delete("ServiceIdentity", CHECKOUT)
        assert it.told("MessageBroker", MAIN, "InSync")[1] == "Braked"
        assert await it.enters(data["user.creds"], data["inbox.prefix"])
        await it.annotate(MAIN, **{ALLOW_REMOVALS: "22"})
        assert not await it.enters(data["user.creds"], data["inbox.prefix"])
        assert {rule.principal for rule in it.ledger.rules} == {CONSUMER}


async def test_a_forged_secret_gives_nobody_anything(nats: Stage) -> None:
    """Whoever may write Secrets in a namespace writes one with another's principal."""
    await nats.broker.apply(
        Batch((nats.issue("stranger"),), granted(publish("stranger", "prod.x")))
    )
    async with at_work(nats, market(nats)) as it:
        before = await nats.standing()
        other = json.loads(it.data(FULFILMENT)["troth.json"])
        forged = it.secret_saying(CHECKOUT, principal=other["principal"], current=other["current"])
        kept = it.ledger
        elsewhere = {
            **forged,
            "metadata": {**forged["metadata"], "name": "mine", "uid": "", "namespace": "messaging"},
        }
        await it.put(elsewhere)
        await it.later(EVERY)
        assert await nats.standing() == before
        assert it.ledger == kept
        await it.put(forged)  # in the place of one's own: it is replaced
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
