"""The credential with which Troth administers a broker: wrong, expired, or rotated by its owner."""

import time
from collections.abc import Callable

import pytest

from sandbox.brokers.nats import account_creds
from tests.brokers.nats.stage import Stage
from tests.builders import Manifest
from tests.messaging import policy, producer
from tests.reconcile.brokers.at_work import (
    CHECKOUT,
    EVERY,
    MAIN,
    ORDERS,
    at_work,
    market,
    secret,
)
from troth.brokers.nats.jwt import Key, Kind, creds_file, encode, read_creds
from troth.resources.references import Ref

ADMIN = ("Secret", Ref("messaging", "nats-admin"))
Admin = Callable[[Stage], dict[str, str]]


def given(stage: Stage) -> dict[str, str]:
    admin = stage.admin()
    return {"system.creds": admin.creds, "operator.nk": admin.seed}


def system_creds(stage: Stage, **claims: object) -> str:
    user = Key.generate(Kind.USER)
    nats = {
        "pub": {},
        "sub": {},
        "subs": -1,
        "data": -1,
        "payload": -1,
        "type": "user",
        "version": 2,
    }
    token = encode(
        {"name": "admin", "sub": user.public, "nats": nats, **claims},
        stage.server.keys.system,
        int(time.time()),
    )
    return creds_file(token, user)


def nothing(_: Stage) -> dict[str, str]:
    return {}


def no_seed(stage: Stage) -> dict[str, str]:
    return {"system.creds": stage.admin().creds}


def another_account(stage: Stage) -> dict[str, str]:
    return given(stage) | {"system.creds": account_creds("admin", stage.account)}


def another_operator(stage: Stage) -> dict[str, str]:
    return given(stage) | {"operator.nk": Key.generate(Kind.OPERATOR).seed.decode()}


def expired(stage: Stage) -> dict[str, str]:
    return given(stage) | {"system.creds": system_creds(stage, exp=int(time.time()) - 60)}


WRONG: list[tuple[Admin, str]] = [
    (nothing, "admin Secret messaging/nats-admin has no system.creds; add it"),
    (no_seed, "admin Secret messaging/nats-admin has no operator.nk; add it"),
    (another_account, "system account"),
    (another_operator, "the admin's signing seed is of another operator"),
    (expired, "rejects the admin credential, which expired on 20"),
]


@pytest.mark.parametrize(("wrong", "words"), WRONG)
async def test_invalid_admin_credential_is_named_and_a_valid_one_is_used(
    nats: Stage, wrong: Admin, words: str
) -> None:
    async with at_work(nats, market(nats, secret("nats-admin", wrong(nats)))) as it:
        status, reason, message = it.condition_of("MessageBroker", MAIN, "Reachable")
        assert (status, reason) == ("False", "AdminRefused")
        assert words in message
        assert it.condition_of("MessageBroker", MAIN, "Ready")[:2] == ("False", "AdminRefused")
        assert it.condition_of("TopicPolicy", ORDERS, "GrantsInSync")[1] == "BrokerUnreachable"
        its = list(wrong(nats).values())
        assert not any(line in str(it.server.events) for value in its for line in secrets(value))
        it.server.put(secret("nats-admin", given(nats)))  # no informer watches it
        await it.later(EVERY)
        assert it.condition_of("MessageBroker", MAIN, "Ready")[:2] == ("True", "InPlace")
        assert {each[2] for each in it.grants()} == {"InSync"}


def secrets(text: str) -> list[str]:
    return [line for line in text.split() if len(line) > 40]


async def test_missing_admin_secret_is_named(nats: Stage) -> None:
    declared = [each for each in market(nats) if each["metadata"]["name"] != "nats-admin"]
    async with at_work(nats, declared) as it:
        _, reason, message = it.condition_of("MessageBroker", MAIN, "Reachable")
        assert (reason, message) == (
            "SecretMissing",
            "Secret messaging/nats-admin does not exist; create it",
        )
        it.server.put(secret("nats-admin", given(nats)))
        await it.later(EVERY)
        assert it.condition_of("MessageBroker", MAIN, "Ready")[:2] == ("True", "InPlace")


async def test_rotated_admin_credential_is_used_from_the_next_check(nats: Stage) -> None:
    async with at_work(nats, market(nats)) as it:
        issued = it.data(CHECKOUT)
        user = read_creds(creds := system_creds(nats))
        it.server.put(secret("nats-admin", given(nats) | {"system.creds": creds}))
        await it.later(EVERY)
        assert user.key.public in await connections(nats)
        await it.put(another_policy())
        await it.later(EVERY)
        assert it.condition_of("MessageBroker", MAIN, "Ready")[:2] == ("True", "InPlace")
        assert it.data(CHECKOUT) == issued


async def test_admin_credential_that_becomes_invalid_revokes_nothing(nats: Stage) -> None:
    async with at_work(nats, market(nats)) as it:
        before = await nats.account_jwt()
        client = await it.client(CHECKOUT)
        it.server.put(secret("nats-admin", expired(nats)))
        await it.later(EVERY)
        assert it.condition_of("MessageBroker", MAIN, "Reachable")[:2] == ("False", "AdminRefused")
        await it.delete("TopicPolicy", ORDERS)
        assert await nats.account_jwt() == before
        assert client.is_connected
        it.server.put(secret("nats-admin", given(nats)))
        await it.later(EVERY)
        assert ("TopicPolicy", ORDERS) not in it.server.objects
        assert client.is_closed


async def connections(nats: Stage) -> str:
    subject = "$SYS.REQ.SERVER.PING.CONNZ"
    return (await nats.link.ask(subject, b'{"auth": true}', "connections")).decode()


def another_policy() -> Manifest:
    return policy("refunds", topic={"name": "prod.refunds"}, producers=[producer("checkout")])
