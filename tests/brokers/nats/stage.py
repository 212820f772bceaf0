"""An account on a real NATS server for one test, its administrator, and clients of principals."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from nats.aio.client import Client, RawCredentials
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js.api import ConsumerConfig

from sandbox.brokers.nats import NatsServer, account_claims, account_creds
from tests.patience import PATIENCE
from troth.brokers.nats.connection import Link
from troth.brokers.nats.driver import Admin, NatsBroker
from troth.brokers.nats.jwt import Claims, Key, Kind, decode, encode, issue_user
from troth.brokers.nats.rules import inbox_prefix, rules
from troth.brokers.protocol import Batch, Credential
from troth.clients.nats import NatsClient
from troth.trust.grants import Action, Grant, Rule, Slot, Topic

JETSTREAM = {"mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1}
STREAMS = {"A": ["s.a.>"], "B": ["s.b.>"]}
DURABLES = ("d", "e")


def publish(principal: str, topic: str) -> Grant:
    return Grant(principal, Action.PUBLISH, Topic(topic, topic.endswith(".")))


def consume(principal: str, topic: str, group: str = "", stream: str = "") -> Grant:
    return Grant(principal, Action.CONSUME, Topic(topic, topic.endswith(".")), group, stream)


def granted(*grants: Grant) -> tuple[Rule, ...]:
    return tuple(sorted(rules(grants)))


@dataclass
class Stage:
    server: NatsServer
    account: Key
    link: Link
    broker: NatsBroker
    clients: list[NatsClient] = field(default_factory=list)
    creds: dict[tuple[str, Slot], str] = field(default_factory=dict)

    def admin(self) -> Admin:
        seed = self.server.keys.signer.seed.decode()
        operator = self.server.keys.operator.public
        return Admin(self.account.public, operator, self.server.system_creds(), seed)

    def issue(self, principal: str, slot: Slot = Slot.FIRST) -> Credential:
        """Return a new credential, and keep its `.creds` here."""
        issued = issue_user(principal, self.account.public, int(time.time()))
        self.creds[principal, slot] = issued.creds
        return Credential(principal, slot, issued.material)

    async def give(self, principals: Iterable[str], *grants: Grant) -> None:
        """Apply a credential for each principal, and the grants."""
        credentials = tuple(self.issue(principal) for principal in principals)
        assert not await self.broker.apply(Batch(credentials, granted(*grants)))

    async def account_jwt(self) -> str:
        """Return the account's JWT."""
        subject = f"$SYS.REQ.ACCOUNT.{self.account.public}.CLAIMS.LOOKUP"
        return (await self.link.ask(subject, b"", "lookup")).decode()

    async def claims(self) -> Claims:
        return decode(await self.account_jwt(), Kind.OPERATOR)

    async def push(self, claims: Claims, signer: Key | None = None) -> None:
        """Push the account as another administrator does."""
        token = encode(claims, signer or self.server.keys.signer, int(time.time()))
        await self.link.ask_json("$SYS.REQ.CLAIMS.UPDATE", token.encode(), "push")

    async def make_foreign(self) -> tuple[str, str]:
        """Create a plain and a scoped signing key and other claims, as other administrators do."""
        plain, scoped = (Key.generate(Kind.ACCOUNT).public for _ in range(2))
        scope = {
            "kind": "user_scope",
            "key": scoped,
            "role": "shop",  # could be the name of one of Troth's principals
            "template": {
                "pub": {"allow": ["x.>", "a é"]},
                "sub": {},
                "resp": {"max": 1, "ttl": 0},
                "subs": 7,
                "data": -1,
                "payload": -1,
            },
            "description": "somebody's",
            "unknown": {"to": ["Troth"]},
        }
        claims = await self.claims()
        claims["nats"]["signing_keys"] = [plain, scope]
        claims["nats"]["exports"] = [{"name": "prices", "subject": "prices.>", "type": "stream"}]
        claims["nats"]["limits"]["conn"] = 77
        claims["nats"]["revocations"] = {Key.generate(Kind.USER).public: 3}
        await self.push(claims)
        return plain, scoped

    async def foreign(self) -> str:
        """Return the account's foreign claims, in their order."""
        claims = await self.claims()
        for volatile in ("iss", "iat", "jti"):
            del claims[volatile]
        claims["nats"]["signing_keys"] = [
            each
            for each in claims["nats"]["signing_keys"]
            if isinstance(each, str) or not each["description"].startswith("troth.dev/")
        ]
        return json.dumps(claims)

    async def pushes(self) -> Callable[[], Awaitable[int]]:
        """Count the pushes to the server from now on; return a function that returns the count."""
        witness = await self.enter(self.server.system_creds(), "_INBOX")
        seen: list[Msg] = []

        async def count(message: Msg) -> None:
            seen.append(message)

        async def told() -> int:
            await witness.flush()
            await asyncio.sleep(0.05)
            return len(seen)

        await witness.subscribe("$SYS.REQ.CLAIMS.UPDATE", cb=count)
        await witness.flush()
        return told

    async def connect(self, principal: str, slot: Slot = Slot.FIRST, **options: Any) -> NatsClient:
        """Return a client of a principal, with the contents of its Secret."""
        return await self.enter(self.creds[principal, slot], inbox_prefix(principal), **options)

    async def witness(self) -> NatsClient:
        """Return a client that may do anything in the account."""
        return await self.enter(account_creds("witness", self.account), "_INBOX")

    async def enter(
        self, creds: str, inbox: str, client: NatsClient | None = None, at: str = "", **options: Any
    ) -> NatsClient:
        """Return a client that has connected with `.creds`, by default to the server itself."""
        client = client or NatsClient()
        self.clients.append(client)

        async def ignore(_: Exception) -> None: ...

        options = {"allow_reconnect": False, "error_cb": ignore, **options}
        async with asyncio.timeout(PATIENCE):
            await client.connect(
                at or self.server.url,
                tls=self.server.tls(),
                user_credentials=RawCredentials(creds),
                inbox_prefix=inbox,
                max_reconnect_attempts=1 if not options["allow_reconnect"] else -1,
                reconnect_time_wait=0 if not options["allow_reconnect"] else 0.05,
                **options,
            )
        return client

    async def close(self) -> None:
        for client in self.clients:
            await client.close_within(1)
        await self.broker.close()
        await self.link.close()


@asynccontextmanager
async def stage(server: NatsServer) -> AsyncIterator[Stage]:
    """Create a fresh account on a server."""
    account = Key.generate(Kind.ACCOUNT)
    link = Link([server.url], server.system_creds(), server.tls(), PATIENCE)
    keys = server.keys
    seed = keys.signer.seed.decode()
    admin = Admin(account.public, keys.operator.public, server.system_creds(), seed)
    broker = NatsBroker([server.url], admin, server.tls(), timeout=PATIENCE)
    made = Stage(server, account, link, broker)
    try:
        await made.push(account_claims(account.public, "test", limits=JETSTREAM))
        yield made
    finally:
        await made.close()


async def fill_streams(witness: Client) -> None:
    """Create the streams, with messages and consumers in each."""
    jetstream = witness.jetstream()
    for stream, subjects in STREAMS.items():
        await jetstream.add_stream(name=stream, subjects=subjects, storage="memory")
        for durable in DURABLES:
            await jetstream.add_consumer(stream, ConsumerConfig(durable_name=durable))
        for number in range(4):
            await jetstream.publish(f"s.{stream.lower()}.{number}", b"kept")


async def sent(client: Client) -> None:
    """Return once the server has processed everything that a client has sent.

    The library's flush writes its PING before what is still in its buffer. The answer to the first
    one shows only that the buffer has been written.
    """
    for _ in range(2):
        await client.flush(timeout=PATIENCE)  # type: ignore[arg-type]


class Ears:
    """Messages that a client receives on its subscriptions."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.heard: dict[tuple[str, str], set[bytes]] = {}
        self._subscriptions: list[Subscription] = []

    async def listen(self, subject: str, queue: str = "") -> None:
        heard = self.heard.setdefault((subject, queue), set())

        async def hear(message: Msg) -> None:
            heard.add(message.data)

        self._subscriptions.append(await self.client.subscribe(subject, queue=queue, cb=hear))

    async def leave(self) -> None:
        """Unsubscribe, and return once the server has processed it.

        If a client only closes its connection, the server may still send it messages for which
        another member of the queue group waits.
        """
        for each in self._subscriptions:
            await each.unsubscribe()
        self._subscriptions.clear()
        await sent(self.client)

    async def settle(self) -> None:
        """Return once all messages sent so far have arrived."""
        await sent(self.client)
        await asyncio.sleep(0)
        while any(each.pending_msgs for each in self._subscriptions):  # noqa: ASYNC110 - a count
            await asyncio.sleep(0)


async def until(true: Any, seconds: float = PATIENCE) -> float:
    """Wait until a condition holds; return the seconds it took."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() < began + seconds, "it did not come true"
        await asyncio.sleep(0.002)
    return time.monotonic() - began
