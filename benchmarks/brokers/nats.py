"""The NATS floor: nats-py, in operator mode."""

import asyncio
import copy
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Self

from nats.aio.client import Client, RawCredentials
from nats.aio.msg import Msg

from benchmarks.brokers.client import PATIENCE, BareBroker
from benchmarks.brokers.market import OTHER
from benchmarks.fleet.topology import Manifest
from sandbox.brokers.nats import NatsServer
from troth.brokers.nats.jwt import Claims, Kind, decode, encode, issue_user

PUSH = "$SYS.REQ.CLAIMS.UPDATE"


class BareNats(BareBroker[NatsServer]):
    """A client of the system account, with the operator's signing key."""

    name = "NATS"

    def __init__(self, server: NatsServer, client: Client) -> None:
        super().__init__(server)
        self._client = client
        self._principals: list[str] = []
        self._before: Claims = {}
        self._full: Claims = {}

    @classmethod
    @asynccontextmanager
    async def connect(cls) -> AsyncIterator[Self]:
        """Start a server and connect to it."""
        with NatsServer.serving() as server:
            client = Client()
            await client.connect(
                server.url,
                tls=server.tls(),
                user_credentials=RawCredentials(server.system_creds()),
            )
            try:
                yield cls(server, client)
            finally:
                await client.close()

    def _reached(self) -> Manifest:
        keys = {"account": self._server.account, "operator": self._server.keys.operator.public}
        return {"servers": [self._server.address], **keys}

    async def remember(self) -> None:
        """Record what Troth made, so that `tell` can make it again."""
        self._full = await self.account()
        entries = self._full["nats"].get("signing_keys") or []
        self._principals = [entry["role"] for entry in entries if isinstance(entry, dict)]

    async def tell(self) -> None:
        """Sign a user of each principal, and push the account with all of them."""
        self._before = await self.account()
        for principal in self._principals:
            issue_user(principal, self._server.account, int(time.time()))
        await self._push(self._full)

    async def forget(self) -> None:
        """Push the account as it was before."""
        await self._push(self._before)

    async def look(self) -> None:
        """Read the account."""
        await self.account()

    async def change(self, topic: str, *, live: bool) -> None:
        """Change the right of `OTHER` to publish to a topic: read the account and push it."""
        claims = copy.deepcopy(await self.account())
        entries = claims["nats"].setdefault("signing_keys", [])
        entries[:] = [each for each in entries if _role(each) != OTHER]
        if live:
            user = issue_user(OTHER, self._server.account, int(time.time()))
            template = {"pub": {"allow": [topic]}, "sub": {"deny": [">"]}}
            scope = {"kind": "user_scope", "key": user.material, "role": OTHER}
            entries.append({**scope, "template": template})
        await self._push(claims)

    @asynccontextmanager
    async def effect(
        self, principal: str, topic: str, *, live: bool
    ) -> AsyncIterator[Callable[[], Awaitable[None]]]:
        """Listen until a principal may publish to a topic, or with `live` false may no longer."""
        pushed = asyncio.Event()

        async def hear(message: Msg) -> None:
            if _may(decode(message.data.decode(), Kind.OPERATOR), principal, topic) is live:
                pushed.set()

        listening = await self._client.subscribe(PUSH, cb=hear)
        await self._client.flush()

        async def heard() -> None:
            await asyncio.wait_for(pushed.wait(), PATIENCE)

        try:
            yield heard
        finally:
            await listening.unsubscribe()

    async def account(self) -> Claims:
        """Return the current claims of the account."""
        subject = f"$SYS.REQ.ACCOUNT.{self._server.account}.CLAIMS.LOOKUP"
        answer = await self._client.request(subject, timeout=PATIENCE)
        return decode(answer.data.decode(), Kind.OPERATOR)

    async def _push(self, claims: Claims) -> None:
        token = encode(claims, self._server.keys.signer, int(time.time()))
        answer = await self._client.request(PUSH, token.encode(), timeout=PATIENCE)
        if b'"code":200' not in answer.data:
            raise RuntimeError("the NATS server did not take the account")


def _role(entry: Any) -> str:  # noqa: ANN401 - JSON
    return str(entry.get("role", "")) if isinstance(entry, dict) else ""


def _may(claims: Claims, principal: str, topic: str) -> bool:
    return any(
        topic in entry["template"]["pub"].get("allow", ())
        for entry in claims["nats"].get("signing_keys") or ()
        if _role(entry) == principal
    )
