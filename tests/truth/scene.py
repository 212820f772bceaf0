"""A few pods on a stage: the connections between them, and the outcomes of their calls.

`tests.oracle` decides from the API server's objects which connections are allowed.
"""

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import permutations

from sandbox.node.manifests import workload_pod
from sandbox.node.workload import Files, Layer, Mode, Outcome, Target, Workload
from tests.cluster.person import Manifest, until
from tests.cluster.stage import DOMAIN, IDENTITY, Stage
from tests.networkpolicy import Pod
from tests.oracle import Declared
from tests.sandbox.nodes import addresses, apply
from troth.planning.owned_objects import secret_ref
from troth.resources.references import Ref

PORTS = {"https": 8443, "admin": 9443}
"""Ports of every pod, whatever its identity declares."""

Ways = frozenset[str]
"""Connections, as "from to:port"."""


@dataclass(frozen=True)
class Player:
    """A pod: its namespace, labels, and the identity whose Secret it has mounted, if any."""

    namespace: str
    name: str
    labels: Mapping[str, str]
    identity: str = ""

    @classmethod
    def of(cls, identity: Ref, name: str = "") -> "Player":
        """Return a pod of an identity that `tests.builders.identity` made."""
        labels = {"app": identity.name}
        return cls(identity.namespace, name or identity.name, labels, identity.name)

    @property
    def place(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def secret(self) -> Ref:
        return secret_ref(Ref(self.namespace, self.identity))

    def manifest(self) -> Manifest:
        return workload_pod(
            self.namespace,
            self.name,
            labels=self.labels,
            ports=PORTS if self.identity else None,
            plain=None if self.identity else PORTS,
            identity=self.secret.name if self.identity else None,
        )


class Scene:
    """Pods by their unique names."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._node = stage.sandbox.node
        self._players: dict[str, Player] = {}
        self._addresses: dict[str, str] = {}

    # Pods

    async def enter(self, *players: Player) -> None:
        """Start pods and wait until they serve and the packet filter knows them."""
        await asyncio.to_thread(apply, self._stage.sandbox, *(each.manifest() for each in players))
        for namespace in {player.namespace for player in players}:
            names = [player.name for player in players if player.namespace == namespace]
            found = await asyncio.to_thread(addresses, self._stage.sandbox, namespace, names)
            self._addresses |= found
        self._players |= {player.name: player for player in players}

    async def relabel(self, name: str, **labels: str) -> None:
        """Give a pod these labels, and no others."""
        player = self._players[name]
        wanted = dict.fromkeys(player.labels) | labels
        patch = {"metadata": {"labels": wanted}}
        await self._kubectl("patch", "pod", name, "-n", player.namespace, "-p", json.dumps(patch))
        self._players[name] = replace(player, labels=labels)

    async def leave(self, name: str) -> str:
        """Delete a pod and wait until the packet filter has forgotten it; return its address."""
        await self._kubectl("delete", "pod", name, "-n", self._players.pop(name).namespace)
        self._node.close()  # a connection to the pod would keep its network alive
        await asyncio.to_thread(self._node.caught_up)
        return self._addresses.pop(name)

    async def enter_outsider(self, address: str) -> str:
        """Start a process that is not a pod at a free address; return its name."""
        name = f"{self._stage.name}-{address}"
        ports = [f"--plain={port}={number}" for port, number in PORTS.items()]
        await asyncio.to_thread(self._node.add_outsider, name, address, *ports)
        return name

    # Connections

    async def reach(self) -> Ways:
        """Return the open connections between any two pods on any port."""
        tried = [
            (source, destination, port)
            for source, destination in permutations(self._players, 2)
            for port in PORTS
        ]
        calls: dict[str, list[Target]] = {}
        for source, destination, port in tried:
            calls.setdefault(source, []).append(self.target(destination, port, Mode.CONNECT))
        found = await asyncio.to_thread(
            self._node.probe,
            {self._players[source].place: targets for source, targets in calls.items()},
        )
        outcomes = [outcome for each in found.values() for outcome in each]
        return frozenset(
            f"{source} to {destination}:{port}"
            for (source, destination, port), outcome in zip(tried, outcomes, strict=True)
            # "closed" comes from the pod, so the packets passed
            if outcome.layer is not Layer.NETWORK or outcome.reason == "closed"
        )

    async def allowed(self) -> Ways:
        """Return the connections that the declarations allow."""
        found = [
            {**manifest, "kind": kind}
            for kind in (DOMAIN, "Namespace", IDENTITY)
            for manifest in await self._stage.person.all(kind)
        ]
        declared = Declared.by(found, datetime.now(UTC))
        pods = {
            name: Pod(player.namespace, player.labels, self._addresses[name])
            for name, player in self._players.items()
        }
        return frozenset(
            f"{source} to {destination}:{port}"
            for source, destination in permutations(pods, 2)
            for port, number in PORTS.items()
            if declared.lets(pods[source], pods[destination], ("TCP", number))
        )

    async def as_declared(self) -> Ways:
        """Wait until all writes are in force; assert that exactly those allowed are open."""
        await self.obeyed()
        reach, allowed = await self.reach(), await self.allowed()
        assert reach == allowed, (
            f"too much is open: {sorted(reach - allowed)}; too little: {sorted(allowed - reach)}"
        )
        return reach

    async def obeyed(self) -> None:
        """Wait until the current objects are on the pods' disks and in the packet filter."""
        for player in self._players.values():
            if player.identity:
                await self._up_to_date(player)
        await asyncio.to_thread(self._node.caught_up)

    @contextlib.asynccontextmanager
    async def nothing_else_opens(self) -> AsyncIterator[None]:
        """Assert that every connection that is open at any time is allowed before or after.

        It samples while the context lasts, and then until everything is in force.
        """
        before, seen, looks, over = await self.allowed(), set(await self.reach()), 0, False

        async def look() -> None:
            nonlocal looks
            while not over:
                seen.update(await self.reach())
                looks += 1

        looking = asyncio.create_task(look())
        try:
            yield
            await self._stage.settled()
            await self.as_declared()
        finally:
            over = True
            await looking
        assert looks > 1
        allowed_by_neither = seen - before - await self.allowed()
        assert not allowed_by_neither, sorted(allowed_by_neither)

    # Calls

    async def call(
        self,
        caller: str,
        callee: str,
        *,
        scope: str = "",
        expect: str = "",
        present: Files | None = None,
    ) -> str:
        """Call on the port https; return the outcome."""
        target = self.target(callee, scope=scope, expect=expect)
        return str(await self._outcome(caller, target, present))

    async def connect(self, caller: str, callee: str) -> str:
        """Only open a connection to the port https; return the outcome."""
        return str(await self._outcome(caller, self.target(callee, mode=Mode.CONNECT)))

    async def connect_to(self, caller: str, address: str) -> str:
        """Only open a connection to whichever pod has an address now; return the outcome."""
        target = Target(f"{address}:{PORTS['https']}", mode=Mode.CONNECT)
        return str(await self._outcome(caller, target))

    async def hold(self, caller: str, callee: str) -> str:
        """Call and keep the connection open."""
        workload = self.workload(caller)
        return str(await asyncio.to_thread(workload.hold, callee, self.target(callee)))

    async def again(self, caller: str, callee: str) -> str:
        """Send another request on the open connection."""
        return str(await asyncio.to_thread(self.workload(caller).again, callee))

    def workload(self, name: str) -> Workload:
        """Return the workload of a pod, or of an outsider."""
        player = self._players.get(name)
        return self._node.workload(player.place if player else name)

    @contextlib.asynccontextmanager
    async def unfiltered(self) -> AsyncIterator[None]:
        """Let all packets pass, to test what is behind the filter."""
        await asyncio.to_thread(self._node.switch_firewall, on=False)
        try:
            yield
        finally:
            await asyncio.to_thread(self._node.switch_firewall, on=True)

    async def _outcome(self, caller: str, target: Target, present: Files | None = None) -> Outcome:
        (outcome,) = await asyncio.to_thread(self.workload(caller).call, [target], present=present)
        return outcome

    def target(
        self,
        callee: str,
        port: str = "https",
        mode: Mode | None = None,
        *,
        scope: str = "",
        expect: str = "",
    ) -> Target:
        player = self._players[callee]
        return Target(
            f"{self._addresses[callee]}:{PORTS[port]}",
            port,
            mode or (Mode.MTLS if player.identity else Mode.PLAIN),
            service=f"{player.namespace}/{player.identity}",
            scope=scope,
            expect=expect,
        )

    async def _up_to_date(self, player: Player) -> None:
        secret = await self._stage.person.get("Secret", player.secret)
        if secret is None:
            return  # deleted; mounted files stay
        wanted = files_of(secret)
        directory = self._node.workload(player.place).root / "identity"

        async def look() -> Files:
            with contextlib.suppress(FileNotFoundError):  # replaced at this moment
                return {name: (directory / name).read_text() for name in wanted}
            return {}

        await until(look, lambda found: found == wanted)

    async def _kubectl(self, *arguments: str) -> str:
        return await asyncio.to_thread(self._stage.sandbox.kubectl, *arguments)


def files_of(secret: Manifest) -> dict[str, str]:
    """Return a Secret's data as files."""
    return {name: base64.b64decode(text).decode() for name, text in secret["data"].items()}
