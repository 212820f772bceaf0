"""A shop whose checkout calls payments with tokens, and in which every part is real.

`troth run` and `troth issue` are processes with the chart's RBAC. payments is uvicorn with the
middleware, checkout is httpx with the transport, and both read mounted files.
"""

import hashlib
import json
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from sandbox.processes import Tether
from tests import builders
from tests.cluster.issuing import Issuer
from tests.cluster.person import Manifest, Person
from tests.cluster.process import Process
from tests.cluster.stage import DOMAIN, IDENTITY, Stage
from tests.cluster.test_issuer import with_issuer
from tests.cluster.tokens.node import Node, know_names
from tests.edge.serving import uvicorn_serving
from tests.patience import PATIENCE
from troth.edge.identity.files import Identity
from troth.edge.inbound.asgi import CALLER_KEY, Application, Receive, Scope, Send, TrothMiddleware
from troth.edge.outbound.httpx import AsyncTransport
from troth.resources.references import Ref

CHARGE, REFUND, ADMIN = "payments.charge", "payments.refund", "payments.admin"
TOKEN: Manifest = {"token": {}}


@dataclass
class Service:
    """A callee that serves; `presented` has every token that it received."""

    url: str
    ref: Ref
    presented: list[str] = field(default_factory=list)


@dataclass
class Shop:
    """A trust domain that issues tokens, its operator and its issuer."""

    stage: Stage
    tether: Tether
    node: Node
    kubeconfig: Path
    """The issuer's kubeconfig, for the ServiceAccount that the chart made."""
    names: dict[str, str]
    """Addresses of Services."""
    domain: Ref
    operator: Process
    lives: int = 0

    @property
    def person(self) -> Person:
        return self.stage.person

    @property
    def keys(self) -> Ref:
        """Name of the Secret that the issuer reads."""
        return Ref(self.stage.own, f"{self.stage.name}-tokens")

    @property
    def url(self) -> str:
        """The issuer's URL if the TrustDomain names none."""
        return f"https://{self.host}:8443"

    @property
    def host(self) -> str:
        return f"{self.stage.name}-issuer.{self.stage.own}.svc"

    def workload(self, ref: Ref) -> str:
        return f"spiffe://{self.stage.name}.example/ns/{ref.namespace}/sa/{ref.name}"

    # Declarations

    async def payments(self, *scopes: str, accepted: bool = True, **token: Any) -> Ref:
        """Declare payments, which accepts checkout, and its Service."""
        await self.service("payments", self.stage.shop)
        accepts = [builders.accept("checkout", scopes=list(scopes))] if accepted else []
        return await self.stage.identity(
            "payments", ports=["https"], accepts=accepts, authentication={"token": token}
        )

    async def service(self, name: str, namespace: str) -> None:
        """Create a Service, whose name the certificates of its pods then have."""
        manifest = builders.service(name, namespace, app=name)
        manifest["spec"]["ports"] = [{"name": "https", "port": 8443}]
        await self.person.put(manifest)

    async def checkout(self, *scopes: str) -> Ref:
        """Declare checkout, which calls payments."""
        return await self.stage.identity(
            "checkout", calls=[builders.call("payments", scopes=list(scopes))]
        )

    async def agreed(self, **token: Any) -> tuple[Ref, Ref]:
        """Declare both with one scope granted and requested, and wait until they are ready."""
        payments = await self.payments(CHARGE, REFUND, **token)
        checkout = await self.checkout(CHARGE, ADMIN)
        await self.ready(payments, checkout)
        return payments, checkout

    async def ready(self, *identities: Ref) -> None:
        for ref in identities:
            await self.person.hears(IDENTITY, ref, "PeersAgree", "AllLive", "True")
            await self.person.ready(IDENTITY, ref)
        await self.person.ready(DOMAIN, self.domain)

    # Processes

    async def issuer(self, kubeconfig: Path | None = None) -> Issuer:
        """Start the issuer at the address of its Service; return it when it may issue."""
        self.lives += 1
        files = await self.node.mount("Secret", Ref(self.stage.own, f"{self.stage.name}-issuer"))
        place = (self.stage.own, self.stage.name)
        issuer = Issuer(
            self.tether,
            f"issuer-{self.lives}",
            kubeconfig or self.kubeconfig,
            *place,
            tls=files,
            address=f"{self.names[self.host]}:8443",
        )
        await issuer.ready()
        return issuer

    async def another_operator(self, **more: Any) -> Process:
        """Start another operator after the last was killed."""
        self.lives += 1
        # another process is another holder; the test does not wait until the lease expires
        await self.person.delete("Lease", Ref(self.stage.own, "troth-operator"))
        self.operator = running(self.stage, self.tether, f"operator-{self.lives}", **more)
        await self.operator.leads()
        return self.operator

    @asynccontextmanager
    async def served(self, ref: Ref) -> AsyncIterator[Service]:
        """Start a pod of a callee that answers with the caller and its scopes."""
        identity = await self.node.identity(ref)
        with serving(ref, identity) as service:
            self.names[urlsplit(service.url).hostname or ""] = "127.0.0.1"
            yield service

    @asynccontextmanager
    async def calling(
        self, ref: Ref, service: Service, account_token: Path | None = None
    ) -> AsyncIterator[httpx.AsyncClient]:
        """Start a pod of a caller; yield its client of a service."""
        identity = await self.node.identity(ref)
        async with client(identity, service, account_token) as started:
            yield started


def client(
    identity: Identity, service: Service, account_token: Path | None = None
) -> httpx.AsyncClient:
    """Return a client of a service that uses the mounts of an identity."""
    callees = {service.url: str(service.ref)}
    transport = AsyncTransport(identity, callees, account_token=account_token)
    return httpx.AsyncClient(transport=transport, base_url=service.url, timeout=PATIENCE)


@contextmanager
def serving(ref: Ref, identity: Identity) -> Iterator[Service]:
    """Serve behind the middleware until the context ends."""
    service = Service("", ref)
    with uvicorn_serving(doors(service, identity), identity) as port:
        service.url = f"https://{ref.name}.{ref.namespace}.svc:{port}"
        yield service


def doors(service: Service, identity: Identity) -> Application:
    """Return the middleware with a recorder of tokens in front and the service behind."""
    guarded = TrothMiddleware(answer_caller, identity, "https")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for name, value in scope.get("headers", ()):
            if name == b"authorization":
                service.presented.append(value.decode().removeprefix("Bearer "))
        await guarded(scope, receive, send)

    return app


async def answer_caller(scope: Scope, _: Receive, send: Send) -> None:
    """Answer with the caller and its scopes."""
    caller = scope[CALLER_KEY]
    told = {"workload": caller.workload, "scopes": sorted(caller.scopes)}
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(told).encode()})


def running(stage: Stage, tether: Tether, name: str, **more: Any) -> Process:
    kubeconfig = more.pop("kubeconfig", stage.kubeconfig)
    return Process(tether, name, kubeconfig, stage.own, **more)


@asynccontextmanager
async def opened(
    stage: Stage,
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    module: str = "troth.cli",
    namespaces: Iterable[str] = (),
    **spec: Any,
) -> AsyncIterator[Shop]:
    """Open a shop with no services: its trust domain, the operator, and a node for its pods.

    The node also has pods in the given namespaces.
    """
    directory.mkdir(exist_ok=True)  # noqa: ASYNC240 - at once
    with Tether(directory / "processes") as tether:
        tether.directory.mkdir()
        setting = await with_issuer(stage, tether)
        names = {f"{stage.name}-issuer.{stage.own}.svc": own_address(stage.name)}
        know_names(monkeypatch, names)
        # a separate tether, because the processes' directory is removed before the servers end
        mounts = directory / "mounts"
        places = (stage.shop, stage.own, *namespaces)
        async with Node(stage.sandbox.kubeconfig, mounts, *places) as node:
            operator = running(stage, tether, "operator", module=module)
            domain = await stage.domain(tokens={}, **spec)
            yield Shop(stage, tether, node, setting.kubeconfig, names, domain, operator)


def own_address(name: str) -> str:
    """Return a loopback address that no other test uses: all issuers listen on one port."""
    _, *parts = hashlib.sha256(name.encode()).digest()[:4]
    return ".".join(map(str, (127, *(1 + part % 254 for part in parts))))
