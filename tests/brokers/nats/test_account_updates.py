"""The adapter observes what it applied, pushes it once, and changes nothing else in the account."""

import asyncio
from dataclasses import replace

import pytest

from tests.brokers.nats.stage import Stage, consume, granted, publish, until
from troth.brokers.errors import AdminRefusedError, BrokerError
from troth.brokers.nats.driver import NatsBroker
from troth.brokers.nats.jwt import Key, Kind
from troth.brokers.nats.rules import SUBJECT
from troth.brokers.protocol import Batch, Driver
from troth.reconcile.runtime.lease_fence import LeaseLost
from troth.trust.grants import Observed, Rule, Slot


async def test_applied_grants_are_observed(nats: Stage) -> None:
    grants = [
        publish("shop", "prod.orders"),
        consume("till", "prod.orders", "q"),
        consume("till", "prod.x."),
    ]
    await nats.give(["shop", "till"], *grants)
    broker: Driver = nats.broker  # checks the type with mypy
    assert await broker.observe() == Observed(
        frozenset({("shop", Slot.FIRST), ("till", Slot.FIRST)}), frozenset(granted(*grants))
    )


async def test_new_account_is_empty(nats: Stage) -> None:
    assert await nats.broker.observe() == Observed()


async def test_applying_the_current_state_pushes_nothing(nats: Stage) -> None:
    pushes = await nats.pushes()
    batch = Batch((nats.issue("shop"),), granted(publish("shop", "a")))
    gone = tuple(rule for rule in granted(publish("shop", "b")) if rule.name == "b")
    for again in (
        batch,
        batch,
        Batch(removals=gone, revocations=(("shop", Slot.SECOND),)),
        Batch(),
    ):
        assert not await nats.broker.apply(again)
    assert await pushes() == 1


async def test_batch_is_one_push(nats: Stage) -> None:
    pushes = await nats.pushes()
    await nats.give(["shop", "till"], publish("shop", "a"), consume("till", "a"))
    second = nats.issue("till", Slot.SECOND)
    batch = Batch(
        (second,),
        granted(consume("till", "b")),
        granted(consume("till", "a")),
        (("till", Slot.FIRST),),
    )
    for _ in range(2):
        assert not await nats.broker.apply(batch)
    assert await pushes() == 2


async def test_rules_are_removed_and_a_revocation_removes_the_rest(nats: Stage) -> None:
    await nats.give(["shop"], publish("shop", "a"), publish("shop", "b"))
    (rule,) = (rule for rule in granted(publish("shop", "a")) if rule.name == "a")
    assert not await nats.broker.apply(Batch(removals=(rule,)))
    assert (await nats.broker.observe()).rules == set(granted(publish("shop", "b")))
    assert not await nats.broker.apply(Batch(revocations=(("shop", Slot.FIRST),)))
    assert await nats.broker.observe() == Observed()


async def test_second_credential_has_the_rules_of_the_first(nats: Stage) -> None:
    await nats.give(["shop"], publish("shop", "a"))
    assert not await nats.broker.apply(Batch((nats.issue("shop", Slot.SECOND),)))
    assert await nats.broker.observe() == Observed(
        frozenset({("shop", Slot.FIRST), ("shop", Slot.SECOND)}),
        frozenset(granted(publish("shop", "a"))),
    )


async def test_foreign_keys_stay_even_if_their_change_is_requested(nats: Stage) -> None:
    plain, scoped = await nats.make_foreign()
    before = await nats.foreign()
    attempts = Batch(
        additions=(Rule(plain, SUBJECT, "", "a", "PUB"), Rule(scoped, SUBJECT, "", "a", "PUB")),
        removals=(Rule(scoped, SUBJECT, "", "x.>", "PUB"),),
        revocations=((plain, Slot.FIRST), (scoped, Slot.FIRST)),
    )
    failures = await nats.broker.apply(attempts)
    assert [failure.change for failure in failures] == [
        *attempts.additions,
        *attempts.removals,
        *attempts.revocations,
    ]
    assert await nats.foreign() == before


async def test_tampering_is_observed_and_restored(nats: Stage) -> None:
    await nats.give(["shop"], publish("shop", "a"))
    assert not await nats.broker.apply(Batch((nats.issue("shop", Slot.SECOND),)))
    good = await nats.broker.observe()
    claims = await nats.claims()
    first, second = claims["nats"]["signing_keys"]
    first["template"] |= {"bearer_token": True, "src": ["10.0.0.0/8"]}
    first["template"]["pub"]["allow"] += ["everything.>"]
    second["template"]["pub"] = {}
    await nats.push(claims)

    seen = await nats.broker.observe()
    excess = seen.rules - good.rules
    assert {(rule.kind, rule.name, rule.pattern) for rule in excess} == {
        ("TEMPLATE", "bearer_token", first["key"]),
        ("TEMPLATE", "src", first["key"]),
        (SUBJECT, "everything.>", first["key"]),
        (SUBJECT, "a", first["key"]),
        (SUBJECT, ">", second["key"]),
    }
    lacking = good.rules - seen.rules
    assert {rule.name for rule in lacking} == {"a"}
    assert not await nats.broker.apply(Batch((), tuple(lacking), tuple(excess)))
    assert await nats.broker.observe() == good


async def test_rejected_change_does_not_block_others(nats: Stage) -> None:
    operator_key = Key.generate(Kind.OPERATOR).public
    bad = replace(nats.issue("bad"), material=operator_key)
    nameless = replace(nats.issue("x"), principal="")
    stolen = replace(nats.issue("thief"), material=nats.account.public)
    of_bad = granted(publish("bad", "a"))
    hostile = tuple(
        Rule("shop", SUBJECT, "", name, "PUB") for name in ("a b", "{{name()}}", "a..b", "a\n", "")
    )
    no_credential = Rule("nobody", SUBJECT, "", "a", "PUB")
    kafka = Rule("shop", "TOPIC", "LITERAL", "a", "WRITE", "ALLOW", "*")
    good = granted(publish("shop", "a"))
    batch = Batch(
        (bad, nameless, stolen, nats.issue("shop")),
        (*of_bad, *hostile, no_credential, kafka, *good),
    )
    failures = await nats.broker.apply(batch)
    assert [failure.change for failure in failures] == [
        ("bad", Slot.FIRST),
        ("", Slot.FIRST),
        ("thief", Slot.FIRST),
        *of_bad,
        *hostile,
        no_credential,
        kafka,
    ]
    assert all(failure.message for failure in failures)
    assert await nats.broker.observe() == Observed(
        frozenset({("shop", Slot.FIRST)}), frozenset(good)
    )


async def test_account_that_changed_meanwhile_is_not_overwritten(
    nats: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = nats.broker._trusted

    async def while_somebody_else_pushes() -> frozenset[str]:
        claims = await nats.claims()
        claims["nats"]["limits"]["conn"] = 5
        await nats.push(claims)
        return await asked()

    with monkeypatch.context() as patched:
        patched.setattr(nats.broker, "_trusted", while_somebody_else_pushes)
        with pytest.raises(BrokerError, match="at the same time"):
            await nats.broker.apply(Batch((nats.issue("shop"),)))
    assert (await nats.claims())["nats"]["limits"]["conn"] == 5
    assert not await nats.broker.apply(Batch((nats.issue("shop"),)))
    assert (await nats.claims())["nats"]["limits"]["conn"] == 5


async def test_concurrent_batches_lose_nothing(nats: Stage) -> None:
    batches = [
        Batch((nats.issue(f"p{number}"),), granted(publish(f"p{number}", "a")))
        for number in range(8)
    ]
    assert not any(await asyncio.gather(*(nats.broker.apply(batch) for batch in batches)))
    assert len((await nats.broker.observe()).credentials) == 8


async def test_pushed_account_is_never_older_than_the_current_one(nats: Stage) -> None:
    admin = nats.admin()
    late = NatsBroker([nats.server.url], admin, nats.server.tls(), clock=lambda: 1.0)
    try:
        before = (await nats.claims())["iat"]
        assert not await late.apply(Batch((nats.issue("shop"),)))
        assert (await nats.claims())["iat"] >= before
    finally:
        await late.close()


async def test_claims_of_an_untrusted_signer_are_not_signed_again(nats: Stage) -> None:
    await nats.give(["shop"], publish("shop", "a"))
    stranger = Key.generate(Kind.OPERATOR)
    await nats.push(await nats.claims(), signer=stranger)  # the server answers 200 and stores it
    before = await nats.account_jwt()
    with pytest.raises(BrokerError, match="has not signed"):
        await nats.broker.observe()
    with pytest.raises(BrokerError, match="has not signed"):
        await nats.broker.apply(Batch((nats.issue("till"),)))
    assert await nats.account_jwt() == before


async def test_wrong_signing_seed_is_rejected_before_any_push(nats: Stage) -> None:
    await nats.give(["shop"])
    before = await nats.account_jwt()
    for seed in (
        Key.generate(Kind.OPERATOR).seed.decode(),
        nats.account.seed.decode(),
        "SOAnonsense",
        "",
    ):
        wrong = NatsBroker([nats.server.url], replace(nats.admin(), seed=seed), nats.server.tls())
        try:
            with pytest.raises(AdminRefusedError) as refused:
                await wrong.apply(Batch((nats.issue("till"),)))
            assert not seed or seed not in str(refused.value)
            assert (await wrong.observe()).credentials == {("shop", Slot.FIRST)}
        finally:
            await wrong.close()
    assert await nats.account_jwt() == before


async def test_operators_own_key_can_sign(nats: Stage) -> None:
    admin = replace(nats.admin(), seed=nats.server.keys.operator.seed.decode() + "\n")
    own = NatsBroker([nats.server.url], admin, nats.server.tls())
    try:
        assert not await own.apply(Batch((nats.issue("shop"),)))
    finally:
        await own.close()
    assert (await nats.broker.observe()).credentials == {("shop", Slot.FIRST)}


async def test_account_that_is_too_large_is_not_pushed(nats: Stage) -> None:
    await nats.give(["shop"])
    before = await nats.account_jwt()
    many = tuple(
        Rule("shop", SUBJECT, "", f"{number}.{'x' * 1000}", "PUB") for number in range(900)
    )
    with pytest.raises(BrokerError, match=r"characters|bytes"):
        await nats.broker.apply(Batch(additions=many))
    assert await nats.account_jwt() == before
    client = await nats.connect("shop")
    await until(lambda: client.is_connected)


async def test_nothing_is_pushed_without_the_permit(nats: Stage) -> None:
    lost = False

    def permit() -> None:
        if lost:
            raise LeaseLost

    broker = NatsBroker([nats.server.url], nats.admin(), nats.server.tls(), permit=permit)
    try:
        before = await broker.observe()
        lost, pushes = True, await nats.pushes()
        with pytest.raises(LeaseLost):
            await broker.apply(Batch((nats.issue("shop"),), granted(publish("shop", "a"))))
        assert await broker.observe() == before
        assert await pushes() == 0
    finally:
        await broker.close()


async def test_no_connection_is_closed_without_the_permit(nats: Stage) -> None:
    await nats.give(["shop"], publish("shop", "a"))
    client = await nats.connect("shop")

    def permit() -> None:
        raise LeaseLost

    broker = NatsBroker([nats.server.url], nats.admin(), nats.server.tls(), permit=permit)
    try:
        with pytest.raises(LeaseLost):
            await broker.disconnect(["shop"])
        assert client.is_connected
    finally:
        await broker.close()
        await client.close()
