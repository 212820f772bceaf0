"""Why Troth issues itself no credential of the NATS system account (docs/decisions/0025)."""

import time

import pytest

from sandbox.brokers.nats import account_creds
from tests.brokers.nats.stage import Stage
from troth.brokers.errors import NotTakenError
from troth.brokers.nats.connection import Link
from troth.brokers.nats.jwt import Claims, Key, Kind, creds_file, decode, encode, read_creds


async def push(link: Link, claims: Claims, signer: Key, issued_at: int) -> None:
    token = encode(claims, signer, issued_at)
    await link.ask_json("$SYS.REQ.CLAIMS.UPDATE", token.encode(), "push")


def user_of(account: str, signer: Key) -> str:
    user = Key.generate(Kind.USER)
    nats = {"pub": {}, "sub": {}, "subs": -1, "data": -1, "payload": -1, "type": "user"}
    nats |= {"issuer_account": account, "version": 2}
    claims = {"name": "troth", "sub": user.public, "nats": nats}
    return creds_file(encode(claims, signer, int(time.time())), user)


async def test_next_push_by_the_owner_drops_a_new_user_and_restores_an_old_one(
    nats: Stage,
) -> None:
    keys, now = nats.server.keys, int(time.time())
    old = account_creds("old", keys.system)

    def link(creds: str) -> Link:
        return Link([nats.server.url], creds, nats.server.tls(), 5.0)

    subject = f"$SYS.REQ.ACCOUNT.{keys.system.public}.CLAIMS.LOOKUP"
    kept = decode((await nats.link.ask(subject, b"", "lookup")).decode(), Kind.OPERATOR)
    ours = Key.generate(Kind.ACCOUNT)
    new = user_of(keys.system.public, ours)
    replaced = {"signing_keys": [ours.public], "revocations": {read_creds(old).key.public: now}}
    await push(nats.link, {**kept, "nats": {**kept["nats"], **replaced}}, keys.signer, now + 1)
    assert (await link(old).lets_in(), await link(new).lets_in()) == (False, True)
    await push(nats.link, kept, keys.signer, now + 2)  # the owner's version, without the other key
    assert (await link(old).lets_in(), await link(new).lets_in()) == (True, False)
    with pytest.raises(NotTakenError):
        await link(new).ask(subject, b"", "lookup")
