"""A hostile NATS server gets nothing signed that the pinned operator has not signed before."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sandbox.brokers.nats import Keys, NatsServer, account_claims
from sandbox.processes import Tether
from tests.brokers.nats.stage import Stage
from troth.brokers.errors import BrokerError
from troth.brokers.nats.driver import NatsBroker
from troth.brokers.nats.jwt import Claims, Key, Kind, decode, encode
from troth.brokers.nats.provenance import is_rolled_back, operator_keys, unfit
from troth.brokers.protocol import Batch
from troth.trust.grants import Slot

ACCOUNT, OPERATOR, SIGNER, STRANGER = (
    Key.generate(kind) for kind in (Kind.ACCOUNT, *[Kind.OPERATOR] * 3)
)
BACK_DOOR = Key.generate(Kind.ACCOUNT).public


class HostileServer(NatsServer):
    """A server with the certificate of the real one, and an operator and accounts of its own.

    Its operator lists the real signing key, so that a JWT with that signature is valid there.
    """

    def __init__(self, tether: Tether, directory: Path, real: NatsServer, account: str) -> None:
        super().__init__(tether, directory)
        self._pair, self._authority = real._pair, real._authority
        self.keys = replace(real.keys, operator=Key.generate(Kind.OPERATOR))
        self._account = account

    def _configuration(self) -> str:
        document: dict[str, Any] = json.loads(super()._configuration())
        keys: Keys = self.keys
        opened = account_claims(self._account, "services")
        opened["nats"]["signing_keys"] = [BACK_DOOR]
        accounts = {
            self._account: opened,
            keys.system.public: account_claims(keys.system.public, "SYS"),
        }
        now = int(time.time())
        document["resolver_preload"] = {
            account: encode(claims, keys.operator, now) for account, claims in accounts.items()
        }
        return json.dumps(document)


@contextmanager
def posing(real: NatsServer, account: str, directory: Path) -> Iterator[HostileServer]:
    with Tether(directory) as tether:
        server = HostileServer(tether, directory, real, account)
        server.start()
        yield server


async def test_account_of_another_operator_is_not_signed(nats: Stage, tmp_path: Path) -> None:
    with posing(nats.server, nats.account.public, tmp_path) as hostile:
        broker = NatsBroker([hostile.url], nats.admin(), hostile.tls())
        try:
            with pytest.raises(BrokerError, match="does not trust operator") as refused:
                await broker.observe()
            assert nats.admin().operator in str(refused.value)
            with pytest.raises(BrokerError, match="does not trust operator"):
                await broker.apply(Batch((nats.issue("shop"),)))
            subject = f"$SYS.REQ.ACCOUNT.{nats.account.public}.CLAIMS.LOOKUP"
            token = (await broker._link.ask(subject, b"", "lookup")).decode()
            assert decode(token, Kind.OPERATOR)["iss"] == hostile.keys.operator.public
        finally:
            await broker.close()


async def test_older_account_with_more_than_the_newer_one_is_not_signed(nats: Stage) -> None:
    opened = await nats.claims()
    opened["nats"]["signing_keys"] = [BACK_DOOR]
    await nats.push(opened)
    old = await nats.account_jwt()
    closed = await nats.claims()
    closed["nats"]["signing_keys"] = []
    later = encode(closed, nats.server.keys.signer, int(time.time()) + 5)
    await nats.link.ask_json("$SYS.REQ.CLAIMS.UPDATE", later.encode(), "push")
    await nats.broker.observe()
    await nats.link.ask_json("$SYS.REQ.CLAIMS.UPDATE", old.encode(), "push")
    with pytest.raises(BrokerError, match="returned an older JWT"):
        await nats.broker.apply(Batch((nats.issue("shop"),)))
    assert await nats.account_jwt() == old


async def test_older_account_that_lacks_what_troth_added_is_restored(nats: Stage) -> None:
    """Its administrator pushed an old copy."""
    old = await nats.account_jwt()
    clock = time.time() + 5
    broker = NatsBroker([nats.server.url], nats.admin(), nats.server.tls(), clock=lambda: clock)
    try:
        credential = nats.issue("shop")
        assert not await broker.apply(Batch((credential,)))
        await nats.link.ask_json("$SYS.REQ.CLAIMS.UPDATE", old.encode(), "push")
        assert not (await broker.observe()).credentials
        assert not await broker.apply(Batch((credential,)))
        assert (await broker.observe()).credentials == {("shop", Slot.FIRST)}
    finally:
        await broker.close()


def operator_jwt(signer: Key = OPERATOR, sub: str = OPERATOR.public, **nats: Any) -> str:
    claims = {"sub": sub, "nats": {"type": "operator", "signing_keys": [SIGNER.public], **nats}}
    return encode(claims, signer, 7)


def test_only_the_operators_own_jwt_names_its_keys() -> None:
    own = {OPERATOR.public, SIGNER.public}
    assert operator_keys([operator_jwt()], OPERATOR.public) == own
    strict = operator_jwt(strict_signing_key_usage=True)
    assert operator_keys([strict], OPERATOR.public) == {SIGNER.public}
    for token in (
        operator_jwt(STRANGER),
        operator_jwt(STRANGER, STRANGER.public),
        operator_jwt(SIGNER),
        operator_jwt(type="account"),
        operator_jwt()[:-4] + "AAAA",
        "",
        None,
        7,
    ):
        assert operator_keys([token], OPERATOR.public) == frozenset()


def account(issued_at: int = 7, **nats: Any) -> Claims:
    return {
        "sub": ACCOUNT.public,
        "iat": issued_at,
        "nats": {"type": "account", "limits": {"conn": 7}, **nats},
    }


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        (account(), ""),
        (account() | {"exp": 101}, ""),
        (account() | {"exp": 100}, "has expired"),
        (account() | {"sub": BACK_DOOR}, "another account"),
        (account(type="user"), "not an account's"),
        ({"sub": ACCOUNT.public, "nats": []}, "not an account's"),
    ],
)
def test_unfit_claims_are_named(claims: Claims, why: str) -> None:
    told = unfit(claims, ACCOUNT.public, 100.0)
    assert (why in told) if why else told == ""


@pytest.mark.parametrize(
    ("older", "rolled_back"),
    [
        (account(6, signing_keys=["A"]), False),
        (account(6, signing_keys=[]), False),
        (account(6), False),
        (account(6, signing_keys=["A", BACK_DOOR]), True),
        (account(6, signing_keys=["A"], exports=[{"subject": ">"}]), True),
        (account(6, signing_keys=["A"], limits={"conn": 8}), True),
        (account(7, signing_keys=[BACK_DOOR]), False),
        (account(8, signing_keys=[BACK_DOOR]), False),
    ],
)
def test_older_claims_may_only_lack_signing_keys(older: Claims, rolled_back: bool) -> None:
    assert is_rolled_back(older, account(7, signing_keys=["A", "B"])) == rolled_back
