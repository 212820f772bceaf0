"""A shop with webhooks: two gateways installed by the chart, their replay store, and a target."""

import asyncio
import base64
import binascii
import json
import re
import secrets
import ssl
import threading
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from yarl import URL

from sandbox.faults import FaultyPath
from sandbox.valkey import ValkeyServer
from tests import builders
from tests.changed_manifests import changed
from tests.chart.rendering import one, rendered
from tests.cluster.gateway import Process
from tests.cluster.person import Manifest, until
from tests.cluster.stage import IDENTITY, Stage
from tests.cluster.tokens.node import Node
from tests.cluster.webhooks.shop import data_of
from tests.edge.mounts import ROOT, svid, workload
from tests.edge.serving import uvicorn_serving
from tests.leaks.acts import PROMPT
from tests.leaks.forms import WINDOW
from tests.leaks.run import CONSOLE, JSON, Run
from tests.leaks.searching import Search
from tests.webhook_builders import INBOUND, leading
from tests.webhook_scene import HOOKS
from troth.documents.webhook_endpoint import KEY_PREFIX
from troth.edge.identity.files import Identity
from troth.edge.inbound.asgi import Receive, Scope, Send, TrothMiddleware
from troth.resources.references import Ref
from troth.webhooks.gateway.routes import Served, served
from troth.webhooks.schemes.delivery import Delivery
from troth.webhooks.schemes.scheme import Stamp

GATEWAY = "troth-gateway"
HASTY = "tests.cluster.webhooks.hasty"
STORE, TLS = "replay-store", "hooks-tls"
MOUNTED = "/var/run/troth"
"""Directory where the chart mounts files."""
SIGNED_BY = {
    *(b"webhook-signature", b"x-hub-signature-256", b"x-gitlab-token", b"stripe-signature"),
    *(b"x-twilio-signature", b"signature"),
}
"""Headers that hold a signature or a token."""
_CODED = re.compile(r"[0-9a-f]{40,}|[A-Za-z0-9+/]{26,}={0,2}")


@dataclass
class Target:
    """Target of deliveries; its responses quote the whole request.

    While `gate` is not set, it keeps a delivery without answering.
    """

    replies: list[int] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)

    async def noting(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Receive a delivery, and answer with all its content."""
        message = await receive()
        await asyncio.to_thread(self.gate.wait)
        headers = [(b"x-told", value) for _, value in scope["headers"]]
        status = self.replies.pop(0) if self.replies else 200
        await send({"type": "http.response.start", "status": status, "headers": headers})
        body = b"" if status == 204 else message["body"]
        await send({"type": "http.response.body", "body": body})

    def guarded(self, identity: Identity) -> Any:
        """Return the application behind the middleware; the tokens are recorded before it."""
        within = TrothMiddleware(self.noting, identity, HOOKS)

        async def door(scope: Scope, receive: Receive, send: Send) -> None:
            self.tokens += [v.decode() for name, v in scope["headers"] if name == b"txn-token"]
            await within(scope, receive, send)

        return door


@dataclass
class Hooks:
    """Gateways and senders of a run. `sent` has the values that must appear nowhere."""

    run: Run
    gates: str
    """Namespace of the gateways."""
    store: ValkeyServer
    target: Target
    trusting: ssl.SSLContext
    """TLS context of the senders: trusts the issuer of the gateways' certificate."""
    session: aiohttp.ClientSession
    kubeconfig: Path
    path: FaultyPath
    """Proxy between the second gateway and the API server."""
    options: list[str] = field(default_factory=list)
    gateways: list[Process] = field(default_factory=list)
    sent: list[tuple[str, bytes]] = field(default_factory=list)

    @property
    def stage(self) -> Stage:
        return self.run.stage

    @property
    def signing(self) -> Ref:
        """Secret with the gateways' signing key."""
        return Ref(self.gates, f"{GATEWAY}-webhook-signing")

    def compiled(self, name: str) -> Ref:
        return Ref(self.gates, f"{self.stage.shop}.{name}")

    async def served(self, name: str) -> Served:
        """Return an endpoint as a gateway reads it, keys included."""
        return served(data_of(await self.stage.person.the("Secret", self.compiled(name))))

    async def signed(self, name: str, *, key: int = 0, age: float = 0.0, id_: str = "") -> Delivery:
        """Return a new delivery to an endpoint, whose body has a unique secret value."""
        found = await self.served(name)
        card = secrets.token_hex(20)
        identifier = id_ or f"evt_{secrets.token_hex(8)}"
        body = json.dumps({"id": identifier, "card": card}).encode()
        self.sent.append((f"the body of a delivery to {name}", card.encode()))
        headers = ((b"content-type", b"application/json"),)
        bare = Delivery("POST", found.endpoint.path.encode(), headers, body)
        signed = found.scheme.sign(bare, found.keys[key], Stamp(int(time.time() - age), identifier))
        self._know(signed)
        return signed

    async def key(self, name: str) -> bytes:
        """Return the key of an endpoint that its sender has."""
        data = data_of(await self.stage.person.the("Secret", self.compiled(name)))
        return next(text for entry, text in data.items() if entry.startswith(KEY_PREFIX))

    def _know(self, delivery: Delivery) -> None:
        for name, value in delivery.headers:
            if name in SIGNED_BY and len(value) >= WINDOW:
                self.sent += [("a signature", each) for each in signatures(value)]

    async def send(self, delivery: Delivery, *, by: int = 0) -> int:
        """Send a delivery, record the response, and return its status."""
        self._know(delivery)
        url = f"https://localhost:{self.gateways[by].port}{delivery.target.decode()}"
        async with self.session.request(
            delivery.method,
            URL(url, encoded=True),
            data=delivery.body,
            headers=[(name.decode(), value.decode("latin-1")) for name, value in delivery.headers],
        ) as response:
            answer = await response.text()
            self.show("an answer of the gateway", answer, repr(response.headers))
            return response.status

    async def work(self) -> None:
        """Wait until a new delivery is accepted."""

        async def look() -> int:
            return await self.send(await self.signed("orders"))

        await until(look, lambda status: status == 200)

    def through(self, endpoint: Manifest) -> Manifest:
        """Return an endpoint that uses the gateways of the run."""
        named = {"name": GATEWAY, "namespace": self.gates}
        return changed(endpoint, f"{INBOUND}.gateway", named)

    def start(self, log_format: str, kubeconfig: Path, *more: str) -> Process:
        """Start a gateway with the most detailed log."""
        options = (*self.options, "--log-level=debug", f"--log-format={log_format}", *more)
        name = f"gateway-{len(self.gateways)}"
        started = Process(
            self.run.tether, name, kubeconfig, *options, module=HASTY, POD_NAMESPACE=self.gates
        )
        self.gateways.append(started)
        for kind in ("cmdline", "environ"):
            text = Path(f"/proc/{started.pid}/{kind}").read_text(errors="replace")
            self.show(f"the {kind} of {name}", text)
        return started

    async def tells(self, text: str, *, of: int = 0) -> None:
        """Wait until a gateway's log has a text."""

        async def log() -> str:
            return self.gateways[of].output

        await until(log, lambda found: text in found)

    def show(self, where: str, *texts: str) -> None:
        self.run.shown.append((where, "\n".join(texts)))

    async def scrape(self) -> None:
        for number in range(2):
            self.show(
                f"the metrics of gateway {number}", await self.gateways[number].page("metrics")
            )

    def tell(self, search: Search) -> None:
        """Add the values that were sent, forwarded and configured to a search."""
        for name, value in self.sent:
            search.keep(name, value)
        for number, token in enumerate(sorted(set(self.target.tokens))):
            search.keep_token(f"the token of delivery {number}", token)
        password = URL(self.store.url).password
        assert password
        search.keep("the password of the replay store", password.encode())
        user = yaml.safe_load(self.kubeconfig.read_text())["users"][0]["user"]
        search.keep_token("the gateways' ServiceAccount token", user["token"])

    def write_down(self) -> None:
        """Add the logs of the gateways and the files of the store to the output of the run."""
        for number, gateway in enumerate(self.gateways):
            lines = enumerate(gateway.output.splitlines(), start=1)
            self.run.shown += [
                (f"line {at} of the log of gateway {number}", line) for at, line in lines
            ]
        for file in self.store._directory.rglob("*.aof"):
            self.show("the replay store", file.read_bytes().decode("latin-1"))


def signatures(value: bytes) -> list[bytes]:
    """Return the signatures in a header, as text and as bytes, or the token in it.

    The timestamp beside them is no secret: every delivery of the same second has it.
    """
    texts = _CODED.findall(value.decode("latin-1"))
    found = [text.encode() for text in texts] or [value]
    for each in texts:
        try:
            raw = bytes.fromhex(each)
        except ValueError:
            try:
                raw = base64.b64decode(each, validate=True)
            except binascii.Error:
                continue
        found.append(raw)
    return found


@asynccontextmanager
async def opened(run: Run) -> AsyncIterator[Hooks]:
    """Install gateways by the chart, with a store, a certificate and a target; yield them."""
    stage, person = run.stage, run.stage.person
    gates = await stage.namespace()
    directory = run.files.parent / "hooks"
    async with AsyncExitStack() as stack:
        store = stack.enter_context(ValkeyServer.serving())
        await stage.install(*_values(stage, gates))
        kubeconfig = stage.sandbox.service_account_kubeconfig(gates, GATEWAY)
        node = await stack.enter_async_context(
            Node(stage.sandbox.kubeconfig, directory, stage.shop, gates)
        )
        path = await stack.enter_async_context(FaultyPath(kubeconfig, directory / "proxy"))
        await person.put(
            builders.secret(STORE, gates, url=store.url.encode()),
            builders.secret(TLS, gates, **_shown_to_senders()),
        )
        payments = await _declare(stage, gates)
        target = Target()
        target.gate.set()
        identity = await node.identity(payments)
        port = stack.enter_context(uvicorn_serving(target.guarded(identity), identity))
        trusting = ssl.create_default_context(cadata=b"".join(ROOT.authority.anchors).decode())
        session = await stack.enter_async_context(
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusting, force_close=True))
        )
        hooks = Hooks(run, gates, store, target, trusting, session, kubeconfig, path)
        mounts = directory / "mounted"
        mounts.mkdir()
        (mounts / "valkey").mkdir()
        (mounts / "valkey" / "url").write_text(store.url)
        for name, kind, ref in (
            ("identity", "Secret", Ref(gates, f"{GATEWAY}-identity")),
            ("bundle", "ConfigMap", Ref(gates, "trust-bundle")),
            ("tls", "Secret", Ref(gates, TLS)),
        ):
            (mounts / name).symlink_to(await node.mount(kind, ref))
        hooks.options = [
            *(each.replace(MOUNTED, str(mounts)) for each in _arguments(stage, gates)),
            f"--resolve=payments.{stage.shop}.svc:443=127.0.0.1:{port}",
        ]
        hooks.start(JSON, kubeconfig)
        hooks.start(CONSOLE, path.kubeconfig)
        for gateway in hooks.gateways:
            await gateway.ready()
        yield hooks


def _shown_to_senders() -> dict[str, bytes]:
    made = svid(workload("hooks"), dns_names=("localhost",))
    return {"tls_crt": made.pem, "tls_key": made.key}


def _values(stage: Stage, gates: str) -> list[str]:
    """Return the chart's values that run the gateways in an existing namespace."""
    values = {
        "enabled": "true",
        "namespace": gates,
        "createNamespace": "false",
        "valkey.secretName": STORE,
        "tls.secretName": TLS,
        "identity.create": "true",
        "identity.allowedNamespaces.matchLabels.domain": stage.name,
    }
    return [f"gateway.{key}={value}" for key, value in values.items()]


def _arguments(stage: Stage, gates: str) -> list[str]:
    """Return the arguments that the chart gives to a gateway."""
    deployment = one(rendered(*_values(stage, gates), namespace=stage.own), "Deployment", GATEWAY)
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    arguments: list[str] = container["args"]
    return arguments


async def _declare(stage: Stage, gates: str) -> Ref:
    """Declare the trust domain and the target; return the target."""
    await stage.domain(bundle=PROMPT)
    await stage.person.put(leading(namespace=stage.shop))
    payments = await stage.identity(
        "payments",
        ports=[(HOOKS, 9443)],
        accepts=[builders.accept(GATEWAY, HOOKS, namespace=gates)],
    )
    for ref in (payments, Ref(gates, GATEWAY)):
        await stage.person.ready(IDENTITY, ref)
    return payments
