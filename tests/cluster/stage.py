"""A Troth for each test: its namespaces, its trust domain, its clock, and the operator itself."""

import asyncio
import base64
import contextlib
import math
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from cryptography import x509

from sandbox import Sandbox
from sandbox.kubeconfig import write_kubeconfig
from tests import builders
from tests.cluster import chart
from tests.cluster.person import LONG, Manifest, Person, until
from troth.cluster.api import ApiServer
from troth.cluster.connection.connecting import configuration
from troth.cluster.errors import ApiError
from troth.cluster.leases.claim import CLAIM
from troth.cluster.leases.lease import Timing
from troth.planning.owned_objects import policy_ref, secret_ref
from troth.reconcile.brokers.work import BrokerWork
from troth.reconcile.operator import Operator, Settings
from troth.reconcile.runtime.clock import MovableClock
from troth.resources.references import Ref
from troth.world.keys import domain_key, identity_key

QUICK = Timing(duration=8, renew_every=1, margin=1)
RETRY = timedelta(seconds=2)
"""How far the clock advances with each poll of a long wait."""
LATE = 10.0
"""Seconds for which `settled` waits for late watches."""
GIVEN_UP = "unknown"
"""Outcome of a request that Troth itself gave up, for example because it lost its lease."""
READS, WATCHES = {"list", "get"}, {"watch"}
DOMAIN = "TrustDomain"
IDENTITY = "ServiceIdentity"
HELD = ("TopicPolicy", "MessageBroker")
"""Kinds with a finalizer."""


@dataclass
class Requests:
    """Requests of an operator since they were last cleared, except for its lease.

    Watches that succeed are left out too: the API server ends each after some minutes.
    """

    made: list[tuple[str, str, str]] = field(default_factory=list)
    first_write: float = math.inf
    last_write: float = -math.inf
    """When, on the monotonic clock, the first and the last write was answered."""

    def note(self, verb: str, resource: str, outcome: str) -> None:
        if resource == "leases" or (verb in WATCHES and outcome == "200"):
            return
        self.made.append((verb, resource, outcome))
        if verb not in READS | WATCHES:
            self.last_write = time.monotonic()
            self.first_write = min(self.first_write, self.last_write)

    def clear(self) -> None:
        self.made.clear()

    @property
    def reads(self) -> Counter[str]:
        return Counter(resource for verb, resource, _ in self.made if verb in READS)

    @property
    def writes(self) -> Counter[str]:
        """Writes by resource; Events, which are for users, are counted separately."""
        return Counter(
            resource
            for verb, resource, _ in self.made
            if verb not in READS | WATCHES and resource != "events"
        )

    @property
    def events(self) -> int:
        return sum(resource == "events" for _, resource, _ in self.made)

    def unanswered(self, verb: str) -> int:
        """Return how many requests of a verb got no answer."""
        return sum(each == verb and not outcome.isdigit() for each, _, outcome in self.made)

    @property
    def failures(self) -> list[tuple[str, str, str]]:
        return [each for each in self.made if each[2] not in ("200", "201")]


class Copy:
    """One running copy of the operator, in this process."""

    def __init__(self, kubeconfig: Path, settings: Settings, clock: MovableClock) -> None:
        self.requests = Requests()
        self.clock = clock
        self._kubeconfig = kubeconfig
        self._settings = settings
        self._stack = contextlib.AsyncExitStack()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start it, and return when the caches are in sync and it is the leader."""
        config = await configuration(str(self._kubeconfig))
        server = ApiServer(config, self.requests.note)
        await self._stack.enter_async_context(server)
        self.operator = Operator(server, self._settings, self.clock)
        self._task = asyncio.create_task(self.operator.run(), name=self._settings.instance)

    async def acting(self) -> None:
        """Wait until it is in sync and leads."""
        await self._until(lambda: self.operator.ready and self.operator.leadership.acting)

    async def settled(self) -> None:
        """Wait until it has nothing to do or to retry, and nothing comes for a while."""
        quiet, seen = 0, -1
        async with asyncio.timeout(LONG):
            while quiet < 8:
                await asyncio.sleep(0.05)
                self._check()
                queue, work = self.operator.engine.queue, self.operator.engine.background
                assert isinstance(work, BrokerWork)
                idle = not len(queue) and not queue._retries and not work.busy
                still = idle and len(self.requests.made) == seen
                quiet, seen = (quiet + 1 if still else 0), len(self.requests.made)

    async def lost_lease(self) -> None:
        """Wait until it may not write."""
        await self._until(lambda: not self.operator.leadership.acting)

    async def saw(self, holds: Callable[[Requests], bool]) -> None:
        """Wait until its requests satisfy a condition."""
        await self._until(lambda: holds(self.requests))

    async def stop(self) -> None:
        """Stop as on a signal: it releases the lease."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            task, self._task = self._task, None
            await self._stack.aclose()
            if not task.cancelled():
                task.result()

    async def ended(self) -> BaseException:
        """Wait until it ends by itself; return the error."""
        assert self._task is not None
        await asyncio.wait({self._task}, timeout=LONG)
        assert self._task.done(), "it has not ended"
        task, self._task = self._task, None
        await self._stack.aclose()
        error = task.exception()
        assert error is not None
        return error

    async def _until(self, holds: Callable[[], bool]) -> None:
        async def look() -> bool:
            self._check()
            return bool(holds())

        await until(look, bool)

    def _check(self) -> None:
        assert self._task is not None
        if self._task.done():
            self._task.result()
            raise AssertionError("the operator has ended")


@dataclass
class Stage:
    """The setting of one test, in which everything has a unique name."""

    sandbox: Sandbox
    person: Person
    name: str
    clock: MovableClock
    rollouts: bool = False
    """Whether the chart was installed with `rollouts.enabled`."""
    watched: frozenset[str] = frozenset()
    """The chart value `namespaces`."""
    namespaces: list[str] = field(default_factory=list)
    domains: list[str] = field(default_factory=list)
    copies: list[Copy] = field(default_factory=list)
    installed: list[Manifest] = field(default_factory=list)

    @property
    def own(self) -> str:
        """Troth's own namespace."""
        return f"troth-{self.name}"

    @property
    def shop(self) -> str:
        """A namespace that the trust domain governs."""
        return self.namespaces[0]

    @property
    def operator(self) -> Copy:
        return self.copies[-1]

    @property
    def requests(self) -> Requests:
        return self.operator.requests

    # Installation

    async def install(self, *values: str) -> None:
        """Apply the chart's objects for these values; they are deleted with the test."""
        rollouts = f"rollouts.enabled={str(self.rollouts).lower()}"
        self.installed = chart.objects(self.name, rollouts, *values)
        await chart.install(self.person, self.installed)

    async def install_for(self, *namespaces: str) -> None:
        """Apply the chart's objects for an operator that watches these namespaces alone."""
        self.watched = frozenset(namespaces)
        await self.install(f"namespaces={{{','.join(namespaces)}}}")
        everywhere = {"verb": "list", "group": "", "resource": "secrets"}
        account = Ref(self.own, self.own)
        await until(lambda: self.person.may(account, **everywhere), lambda may: not may)

    async def kubeconfig_of(self, account: Ref) -> Path:
        """Write a kubeconfig for a ServiceAccount."""
        administrator = yaml.safe_load(self.sandbox.kubeconfig.read_text())
        return write_kubeconfig(
            self.sandbox.directory / f"{account.namespace}.{account.name}.kubeconfig",
            cluster=administrator["clusters"][0]["cluster"],
            user={"token": await self.person.token(account)},
            namespace=account.namespace,
        )

    @property
    def kubeconfig(self) -> Path:
        """The operator's kubeconfig, for the ServiceAccount that the chart made."""
        return self.sandbox.directory / f"{self.own}.{self.own}.kubeconfig"

    # The operator

    async def run(self, kubeconfig: Path | None = None, *, shards: int = 1) -> Copy:
        """Start a copy of the operator and wait until it is in sync and leads."""
        copy = await self.stand_by(kubeconfig, shards=shards)
        await copy.acting()
        return copy

    async def stand_by(self, kubeconfig: Path | None = None, *, shards: int = 1) -> Copy:
        """Start a copy of the operator."""
        settings = Settings(
            self.own,
            f"copy-{len(self.copies)}",
            QUICK,
            rollouts=self.rollouts,
            namespaces=self.watched,
            shards=shards,
        )
        copy = Copy(kubeconfig or self.kubeconfig, settings, self.clock)
        self.copies.append(copy)
        await copy.start()
        return copy

    async def settled(self) -> None:
        """Wait until the operator has nothing to do, and has observed what the API server has.

        Watches of a busy API server are late. A test may also hold them up, so the wait for them
        is short.
        """
        await self.operator.settled()
        deadline = time.monotonic() + LATE
        while await self._is_behind() and time.monotonic() < deadline:
            await self.operator.settled()

    async def _is_behind(self) -> bool:
        """Return whether the API server has objects that the operator has not observed yet."""
        config = await configuration(str(self.sandbox.kubeconfig))
        with contextlib.suppress(ApiError):  # an API server that does not answer has nothing newer
            async with ApiServer(config) as server:
                for informer in self.operator.operator.informers:
                    async for page in server.pages(informer.selection):
                        versions = (each["metadata"]["resourceVersion"] for each in page["items"])
                        # without an object, it need only have listed: its position is 0 until then
                        if informer.position < max(map(int, versions), default=1):
                            return True
        return False

    async def look_again(self, *, behind: bool = False) -> None:
        """Let the operator reconcile every known resource again.

        `behind` says that its API server cannot tell it what the other one has.
        """
        engine = self.operator.operator.engine
        registry = engine.world.registry
        engine.queue.add(identity_key(ref) for ref in registry.claimants)
        engine.queue.add(domain_key(name) for name in registry.domains)
        engine.queue.add(engine.world.brokers.everything())
        await (self.operator.settled() if behind else self.settled())

    async def later(self, by: timedelta) -> None:
        """Move the operator's clock forward."""
        await self.clock.move_to(self.clock.now() + by)

    # Declarations

    async def namespace(self, label: str | None = None) -> str:
        """Create a namespace that this test's trust domain governs, or one with another label."""
        name = f"{self.name}-{len(self.namespaces)}"
        self.namespaces.append(name)
        labels = {"domain": self.name if label is None else label}
        await self.person.put(builders.namespace(name, **labels))
        return name

    async def domain(self, name: str = "", **spec: Any) -> Ref:
        """Declare a trust domain that governs the test's namespaces."""
        ref = Ref("", f"{self.name}{name}")
        if ref.name not in self.domains:
            self.domains.append(ref.name)
        manifest = builders.domain(self.name, **{"domain": f"{ref.name}.example", **spec})
        await self.person.put({**manifest, "metadata": {"name": ref.name}})
        return ref

    async def identity(self, name: str, namespace: str = "", **spec: Any) -> Ref:
        """Declare an identity; see `tests.builders.identity`."""
        manifest = builders.identity(name, namespace or self.shop, **spec)
        await self.person.put(manifest)
        return Ref.of(manifest)

    async def pair(self) -> tuple[Ref, Ref]:
        """Declare a caller and a callee that consent, and wait until both are ready."""
        callee = await self.identity("payments", ports=["https"], accepts=[builders.accept("web")])
        caller = await self.identity("web", calls=[builders.call("payments")])
        for ref in (callee, caller):
            await self.person.hears(IDENTITY, ref, "PeersAgree", "AllLive", "True")
            await self.person.ready(IDENTITY, ref)
        return callee, caller

    # Observations

    async def secret(self, identity: Ref) -> Manifest:
        return await self.person.the("Secret", secret_ref(identity))

    async def policy(self, identity: Ref) -> Manifest:
        return await self.person.the("NetworkPolicy", policy_ref(identity))

    async def closes(self, identity: Ref) -> None:
        """Wait until an identity's policy opens no inbound port."""
        await self.person.sees(
            "NetworkPolicy", policy_ref(identity), lambda seen: not opened(seen, "ingress")
        )

    async def written(self) -> dict[tuple[str, str, str], str]:
        """Return the version of every object Troth wrote for this test, except Events and lease."""
        versions: dict[tuple[str, str, str], str] = {}
        for kind in ("Secret", "ConfigMap", "NetworkPolicy", IDENTITY):
            for namespace in self.namespaces:
                for item in await self.person.all(kind, namespace):
                    metadata = item["metadata"]
                    versions[kind, namespace, metadata["name"]] = metadata["resourceVersion"]
        for item in await self.person.all(DOMAIN):
            if item["metadata"]["name"] in self.domains:
                metadata = item["metadata"]
                versions[DOMAIN, "", metadata["name"]] = metadata["resourceVersion"]
        return versions


@asynccontextmanager
async def staged(sandbox: Sandbox, *, rollouts: bool = False) -> AsyncIterator[Stage]:
    """Install the chart in a namespace of its own, and delete everything at the end."""
    name = f"t{uuid.uuid4().hex[:8]}"
    clock = MovableClock(datetime.now(UTC))
    async with Person(sandbox.kubeconfig) as person:
        stage = Stage(sandbox, person, name, clock, rollouts)
        person.let_time_pass = partial(stage.later, RETRY)
        try:
            await person.put(builders.namespace(stage.own))
            await stage.install()
            await person.edit("Lease", CLAIM, {"spec": {"holderIdentity": stage.own}})
            await stage.kubeconfig_of(Ref(stage.own, stage.own))
            await stage.namespace()
            yield stage
        finally:
            for copy in stage.copies:
                await copy.stop()
            await _clear_away(stage)


async def _clear_away(stage: Stage) -> None:
    person = stage.person
    for domain in stage.domains:
        await person.delete(DOMAIN, Ref("", domain))
    for namespace in (*stage.namespaces, stage.own):
        # the operator of the next test would report one whose trust domain is gone as not ready
        await person.delete("CredentialRotation", Ref(namespace, ""))
    for namespace in stage.namespaces:
        await person.delete(IDENTITY, Ref(namespace, ""))
        for kind in HELD:  # by an operator that has ended
            for each in await person.all(kind, namespace):
                await person.edit(kind, Ref.of(each), {"metadata": {"finalizers": None}})
            await person.delete(kind, Ref(namespace, ""))
        await person.delete("Namespace", Ref("", namespace))
    await chart.uninstall(person, stage.installed)
    await person.delete("Namespace", Ref("", stage.own))


def edge(identity: Manifest, peer: str) -> Manifest:
    """Return the edge with a peer, `namespace/name`, in an identity's status."""
    edges = identity["status"]["edges"]
    found: Manifest = next(each for each in edges if each["peer"] == peer)
    return found


def leaf_of(secret: Manifest) -> x509.Certificate:
    """Return the certificate in an identity's Secret."""
    return x509.load_pem_x509_certificate(base64.b64decode(secret["data"]["tls.crt"]))


def opened(policy: Manifest, side: str) -> list[int]:
    """Return the ports that a policy opens on a side, except for DNS; 0 means all ports."""
    rules = policy["spec"].get(side, [])
    every = [{"port": 0}]
    return sorted({port["port"] for rule in rules for port in rule.get("ports", every)} - {53})
