"""Actions and faults with tokens during a run."""

import asyncio
import base64
import contextlib
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from tests import builders
from tests.builders import stamp
from tests.cluster.issuing import Issuer
from tests.cluster.person import until
from tests.cluster.stage import DOMAIN, IDENTITY
from tests.cluster.test_issuer import with_issuer
from tests.cluster.tokens.node import Node, know_names
from tests.cluster.tokens.shop import Service, own_address, serving
from tests.leaks.acts import MISLAID, PROMPT, in_a_secret
from tests.leaks.run import CONSOLE, Run
from tests.leaks.searching import Search
from troth.edge.identity.files import Identity
from troth.edge.outbound.httpx import AsyncTransport
from troth.resources.references import Ref

CHARGE = "payments.charge"


@dataclass
class Trade:
    """A service, its caller and their issuer in a run; `tokens` has every issued token."""

    run: Run
    node: Node
    issuer: Issuer
    url: str
    service: Service
    checkout: Identity
    account: Path
    tokens: set[str] = field(default_factory=set)

    @property
    def keys(self) -> Ref:
        return Ref(self.run.stage.own, f"{self.run.stage.name}-tokens")

    def client(self, account: Path | None = None) -> tuple[AsyncTransport, httpx.AsyncClient]:
        callees = {self.service.url: str(self.service.ref)}
        transport = AsyncTransport(self.checkout, callees, account_token=account)
        return transport, httpx.AsyncClient(transport=transport, base_url=self.service.url)

    async def call(self, client: httpx.AsyncClient, **headers: str) -> httpx.Response | None:
        """Send a request and record the result: the response, or the error in the forms that a log
        shows.
        """
        presented = len(self.service.presented)
        try:
            answer = await client.get("/", headers=headers)
        except Exception as error:  # noqa: BLE001 - any error is recorded
            self.show("an error of the client's", repr(error), str(error), repr(vars(error)))
            return None
        finally:
            if "Authorization" not in headers:
                self.tokens.update(self.service.presented[presented:])
        self.show("an answer of the service's", answer.text, repr(answer.headers))
        return answer

    def show(self, where: str, *texts: str) -> None:
        self.run.shown.append((where, "\n".join(texts)))

    def tell(self, search: Search) -> None:
        """Add every token to a search."""
        for number, token in enumerate(sorted(self.tokens)):
            search.keep_token(f"token {number}", token)
        search.keep_token("a ServiceAccount's token", self.account.read_text())


@asynccontextmanager
async def trading(run: Run, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Trade]:
    """Set up a checkout that calls payments with bound and unbound tokens; yield the trade."""
    stage, person = run.stage, run.stage.person
    setting = await with_issuer(stage, run.tether)
    host = f"{stage.name}-issuer.{stage.own}.svc"
    address, url = own_address(stage.name), f"https://{host}:8443"
    names = {host: address, f"payments.{stage.shop}.svc": "127.0.0.1"}
    know_names(monkeypatch, names)
    mounts = run.files.parent / "mounts"
    async with Node(stage.sandbox.kubeconfig, mounts, stage.shop, stage.own) as node:
        await stage.domain(tokens={}, bundle=PROMPT)
        service = builders.service("payments", stage.shop, app="payments")
        service["spec"]["ports"] = [{"name": "https", "port": 8443}]
        await person.put(service)
        payments = await stage.identity(
            "payments",
            ports=["https"],
            accepts=[builders.accept("checkout", scopes=[CHARGE])],
            authentication={"token": {"proofOfPossession": "Optional"}},
        )
        checkout = await stage.identity(
            "checkout",
            calls=[builders.call("payments", scopes=[CHARGE])],
            startsTransactions={"scopes": [CHARGE], "context": ["channel"]},
        )
        for ref in (payments, checkout):
            await person.ready(IDENTITY, ref)
        await person.ready(DOMAIN, Ref("", stage.name))
        kubectl = stage.sandbox.kubectl
        kubectl("create", "serviceaccount", "checkout", "-n", stage.shop)
        account = run.files.parent / "account"
        place = ("checkout", "-n", stage.shop, "--audience", url)
        account.write_text(kubectl("create", "token", *place).strip())
        files = await node.mount("Secret", Ref(stage.own, f"{stage.name}-issuer"))
        issuer = Issuer(
            run.tether,
            "issuer",
            setting.kubeconfig,
            *(stage.own, stage.name),
            tls=files,
            address=f"{address}:8443",
            log_level="debug",
        )
        await issuer.ready()
        own, calling = await node.identity(payments), await node.identity(checkout)
        with serving(payments, own) as served:
            yield Trade(run, node, issuer, url, served, calling, account)


async def tokens_are_used(trade: Trade) -> None:
    """Use tokens obtained by certificate, by ServiceAccount, and with a transaction."""
    transport, client = trade.client()
    async with client:
        assert (answer := await trade.call(client))
        assert answer.status_code == 200
        transaction = await transport.start_transaction(
            subject="customer-42", scopes=[CHARGE], context={"channel": "web"}
        )
        trade.tokens.add(transaction.token)
        trade.show("a transaction", repr(transaction), str(transaction))
        answer = await trade.call(client, **{"Txn-Token": transaction.token})
        assert answer
        assert answer.status_code == 200
        trade.show("a transport", repr(transport), repr(transport._calls.cache._entries))
    _, client = trade.client(trade.account)
    async with client:
        assert (answer := await trade.call(client))
        assert answer.status_code == 200


async def tokens_are_refused(trade: Trade) -> None:
    """Send malformed, foreign and missing tokens to the service and to the issuer."""
    whole = sorted(trade.tokens)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.load_cert_chain(trade.checkout.current.tls_crt, trade.checkout.current.tls_key)
    async with httpx.AsyncClient(verify=context, base_url=trade.service.url) as stranger:
        for token in whole:
            header, claims, signature = token.split(".")
            for odd in (
                *(token[:-1], f"{token}.{token}", f"{token}=", f"{header}.{claims}.", signature),
                *(f"{header}.{claims[:-4]}.{signature}", f"{header}.{claims}.{signature[::-1]}"),
            ):
                await trade.call(stranger, Authorization=f"Bearer {odd}")
                await trade.call(stranger, Authorization=f"Bearer {token}", **{"Txn-Token": odd})
    account = trade.account.read_text()
    async with (
        trade.issuer.caller(trade.checkout.current.tls_crt) as known,
        trade.issuer.caller() as anybody,
    ):
        for caller in (known, anybody):
            for token in (*whole, account[:-4] + "AAAA", account + "." + account):
                answer = await caller.exchange(token, "payments")
                trade.show("an answer of the issuer's", json.dumps(answer))
            answer = await caller.ask(whole[0], scope=whole[0])
            trade.show("an answer of the issuer's", json.dumps(answer))


async def people_look_at_tokens(trade: Trade) -> None:
    run = trade.run
    file = run.files.parent / "a-token"
    file.write_text(min(trade.tokens))
    stage = run.stage
    pair = (f"{stage.shop}/checkout", f"{stage.shop}/payments")
    place = ("-n", stage.shop, "--own-namespace", stage.own)
    await asyncio.gather(
        run.ask("token", "inspect", f"@{file}"),
        run.ask("token", "verify", "-a", "payments", *place, f"@{file}"),
        run.ask("token", "explain", *pair, "--own-namespace", stage.own),
        run.ask("status", "-A", "-o", "json"),
    )


async def the_key_is_replaced(trade: Trade) -> None:
    stage = trade.run.stage
    moment = stamp(datetime.now(UTC) + timedelta(seconds=1))
    await stage.person.put(builders.rotation(DOMAIN, stage.name, stage.own, requestedAt=moment))
    await stage.person.sees("Secret", trade.keys, lambda seen: "retiring.jwk" in seen["data"])
    _, client = trade.client(trade.account)
    async with client:
        await trade.call(client)


async def keys_are_mislaid(trade: Trade) -> None:
    """Put broken, foreign and unexpected keys into the tokens' Secret, and answer writes with
    errors that quote them.
    """
    person, wire = trade.run.stage.person, trade.run.wire
    before = (await person.the("Secret", trade.keys))["data"]
    whole = base64.b64decode(before["current.key"])
    domain = Ref("", trade.run.stage.name)
    for fault in (wire.echo(422), wire.nonsense):
        wire.path.once("PATCH", "secrets", fault)
        await person.edit("Secret", trade.keys, {"data": {"bundle.json": None}})
        await person.sees("Secret", trade.keys, lambda seen: "bundle.json" in seen["data"], 60)
    for name in ("view.json.gz", "bundle.json", "retiring.jwk", "next.key", "next.made"):
        await person.edit("Secret", trade.keys, {"data": in_a_secret({name: MISLAID})})
        await asyncio.sleep(0.3)
    for broken in (whole[:-60], MISLAID, b"no key at all, copied in a hurry"):
        await person.edit("Secret", trade.keys, {"data": in_a_secret({"current.key": broken})})

        async def said() -> str:
            found = await person.the(DOMAIN, domain)
            return str(found["status"]["conditions"])

        with contextlib.suppress(AssertionError):
            await until(said, lambda text: "TokensReady" in text and "'False'" in text, 5)
        _, client = trade.client(trade.account)
        async with client:
            await trade.call(client)


async def everything_is_scraped(trade: Trade) -> None:
    await trade.run.scrape(CONSOLE)
    trade.show("the metrics of the issuer", await trade.issuer.health("metrics"))
    trade.show("the log of the issuer", trade.issuer.output)
