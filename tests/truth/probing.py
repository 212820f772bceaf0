"""Probes of every pair of pods, compared with the declarations.

The expectations come from `tests.oracle`, which follows the text of the reference and shares no
code with Troth. The outcomes come from packets and handshakes between pods.
"""

import asyncio
import base64
import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from sandbox import Sandbox
from sandbox.node.manifests import workload_pod
from sandbox.node.workload import Layer, Mode, Outcome, Target
from tests.cluster.person import until
from tests.networkpolicy import Pod
from tests.oracle import Declared
from tests.patience import PATIENCE
from tests.truth.topology import STRANGERS, Place, Topology

WEB = {"web": 8080}
OURS = ("-l", "truth=pod")


@dataclass(frozen=True)
class Expectation:
    """The required outcome of a call."""

    layers: frozenset[Layer]
    why: str


@dataclass
class Tally:
    """Probes and errors, by layer."""

    probes: Counter[str] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        return sum(self.probes.values())


class Pods:
    """One pod for each identity, and strangers with and without a role in every namespace."""

    def __init__(self, sandbox: Sandbox, topology: Topology) -> None:
        self._sandbox = sandbox
        self.labels: dict[Place, dict[str, str]] = {
            place: {"app": place[1], "truth": "pod"} for place in topology.identities
        }
        self.strangers: list[Place] = []
        for number, namespace in enumerate([*topology.namespaces, STRANGERS, STRANGERS]):
            place = namespace, f"stranger{number}"
            self.strangers.append(place)
            self.labels[place] = {"app": place[1], "truth": "pod"} | (
                {"role": "visitor"} if number % 2 else {}
            )
        self.addresses: dict[Place, str] = {}

    def start(self, topology: Topology) -> None:
        """Start all pods and wait until each runs."""
        manifests = []
        for place, spec in topology.identities.items():
            ports = {port["name"]: port["port"] for port in spec["workload"]["ports"]}
            mutual = "mtls" in spec["authentication"]
            manifests.append(
                workload_pod(
                    *place,
                    labels=self.labels[place],
                    ports=ports if mutual else None,
                    plain=None if mutual else ports,
                    identity=f"{place[1]}-identity" if mutual else None,
                )
            )
        manifests += [self._stranger(place) for place in self.strangers]
        text = "\n---\n".join(json.dumps(manifest) for manifest in manifests)
        self._sandbox.kubectl("apply", "-f", "-", stdin=text)
        self._sandbox.kubectl(
            *("wait", "pods", "--all-namespaces", *OURS),
            *("--for=condition=Ready", f"--timeout={PATIENCE:.0f}s"),
        )
        found = json.loads(self._sandbox.kubectl("get", "pods", "-A", *OURS, "-o", "json"))
        for item in found["items"]:
            metadata = item["metadata"]
            self.addresses[metadata["namespace"], metadata["name"]] = item["status"]["podIP"]

    def _stranger(self, place: Place) -> dict[str, Any]:
        """Return a pod without an identity that is ready only if the kubelet's probe reaches it."""
        manifest = workload_pod(*place, labels=self.labels[place], plain=WEB)
        (container,) = manifest["spec"]["containers"]
        container["readinessProbe"] = {"tcpSocket": {"port": WEB["web"]}, "periodSeconds": 1}
        return manifest

    def pod(self, place: Place) -> Pod:
        return Pod(place[0], self.labels[place], self.addresses[place])


class Truth:
    """A topology, its pods, and the expectations from the declarations."""

    def __init__(self, sandbox: Sandbox, topology: Topology, pods: Pods) -> None:
        self.sandbox, self.topology, self.pods = sandbox, topology, pods
        manifests = topology.manifests()
        self.declared = Declared.by(manifests, topology.now)

    def opens(self, source: Place, destination: Place, number: int) -> bool:
        """Return whether the packet filter must let a connection through."""
        pods = self.pods
        return self.declared.lets(pods.pod(source), pods.pod(destination), ("TCP", number))

    def probe_all(self) -> Tally:
        """Probe every pod from every other on every port, and every live edge with its scopes."""
        calls: dict[str, list[tuple[Target, Expectation]]] = {
            _named(source): list(self._calls(source)) for source in self.pods.addresses
        }
        outcomes = self.sandbox.node.probe(
            {pod: [target for target, _ in targets] for pod, targets in calls.items()}
        )
        tally = Tally()
        for pod, targets in calls.items():
            for (target, expected), outcome in zip(targets, outcomes[pod], strict=True):
                tally.probes[outcome.layer.value] += 1
                if outcome.layer not in expected.layers:
                    wanted = " or ".join(sorted(expected.layers))
                    tally.errors.append(
                        f"{pod} → {target.address} {target.mode}: {outcome} instead of {wanted}: "
                        f"{expected.why} {target}"
                    )
        return tally

    def _calls(self, source: Place) -> Iterator[tuple[Target, Expectation]]:
        for destination in self.pods.addresses:
            if destination == source:
                continue
            for name, number in self.ports(destination).items():
                yield from self._tries(source, destination, name, number)

    def ports(self, place: Place) -> dict[str, int]:
        spec = self.topology.identities.get(place)
        if spec is None:
            return WEB
        return {port["name"]: port["port"] for port in spec["workload"]["ports"]}

    def _tries(
        self, source: Place, destination: Place, name: str, number: int
    ) -> Iterator[tuple[Target, Expectation]]:
        address = f"{self.pods.addresses[destination]}:{number}"
        caller = self.topology.identities.get(source)
        callee = self.topology.identities.get(destination)
        shown = caller is not None and "mtls" in caller["authentication"]
        open_ = self.opens(source, destination, number)
        if callee is None or "gatewayOnly" in callee["authentication"]:
            target = Target(address, name, Mode.PLAIN)
            yield target, _expect(open_, Layer.ANSWERED, "open to whom the network lets in")
        elif not shown:
            target = Target(address, name, Mode.PLAIN)
            yield target, _expect(open_, Layer.HANDSHAKE, "a caller without a certificate")
        elif not self.declared.live(source, destination, name):
            expect = self._spiffe_id(destination)
            target = Target(address, name, Mode.MTLS, expect=expect)
            yield target, _expect(open_, Layer.HANDSHAKE, "an edge that is not live")
        else:
            for scope, granted in self._scopes(source, destination, name):
                target = Target(address, name, Mode.MTLS, service=_named(destination), scope=scope)
                layer = Layer.ANSWERED if granted else Layer.SCOPE
                yield target, _expect(open_, layer, f"a live edge, scope {scope or 'none'}")

    def _scopes(self, source: Place, destination: Place, name: str) -> Iterator[tuple[str, bool]]:
        granted = {
            scope
            for entry in self.topology.identities[destination]["accepts"]
            if entry.get("from") == {"namespace": source[0], "name": source[1]}
            and name in entry["ports"]
            for scope in entry.get("scopes", [])
        }
        yield "", True
        for scope in ("read", "write", "admin"):
            yield scope, scope in granted

    def _spiffe_id(self, place: Place) -> str:
        domain = self.topology.domains[self.topology.namespaces[place[0]]]["domain"]
        account = self.topology.identities[place]["workload"]["serviceAccountName"]
        return f"spiffe://{domain}/ns/{place[0]}/sa/{account}"

    async def on_disk(self) -> None:
        """Wait until every pod uses the current content of its Secret."""
        found = await asyncio.to_thread(
            self.sandbox.kubectl,
            *("get", "secrets", "--all-namespaces", "--selector"),
            *("troth.dev/owner-kind=ServiceIdentity", "--output", "json"),
        )
        secrets = {
            (each["metadata"]["namespace"], each["metadata"]["name"]): each["data"]
            for each in json.loads(found)["items"]
        }
        for place, spec in self.topology.identities.items():
            if "mtls" in spec["authentication"]:
                data = secrets[place[0], f"{place[1]}-identity"]
                await self._reads(place, json.loads(base64.b64decode(data["identity.json"])))

    async def _reads(self, place: Place, wanted: dict[str, Any]) -> None:
        workload = self.sandbox.node.workload(_named(place))

        async def look() -> bool:
            goes_by = workload.identity()
            return all((goes_by[part] or []) == wanted[part] for part in ("accepts", "calls"))

        await until(look, bool, PATIENCE)


def _expect(open_: bool, beyond: Layer, why: str) -> Expectation:
    return Expectation(frozenset({beyond if open_ else Layer.NETWORK}), why)


def _named(place: Place) -> str:
    return f"{place[0]}/{place[1]}"


class Sampling:
    """Samples the open connections continuously, so that the test can judge them afterwards."""

    def __init__(self, truth: Truth) -> None:
        self._truth = truth
        self._stop = threading.Event()
        self.seen: dict[tuple[Place, Place, int], Outcome] = {}
        self.count = 0

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """Sample while the context lasts."""
        thread = threading.Thread(target=self._run, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join(PATIENCE)

    def _run(self) -> None:
        truth = self._truth
        places = list(truth.pods.addresses)
        pairs = [
            (source, destination, number)
            for source, destination in product(places, places)
            if source != destination
            for number in truth.ports(destination).values()
        ]
        truth.topology.random.shuffle(pairs)
        while not self._stop.is_set():
            batch, pairs = pairs[:200], pairs[200:] + pairs[:200]
            calls: dict[str, list[Any]] = {}
            for each in batch:
                calls.setdefault(_named(each[0]), []).append(each)
            outcomes = truth.sandbox.node.probe(
                {
                    pod: [
                        Target(f"{truth.pods.addresses[to]}:{number}", mode=Mode.CONNECT)
                        for _, to, number in tried
                    ]
                    for pod, tried in calls.items()
                }
            )
            for pod, tried in calls.items():
                for each, outcome in zip(tried, outcomes[pod], strict=True):
                    self.count += 1
                    # "closed" comes from the pod, so the packets passed
                    if outcome.layer is not Layer.NETWORK or outcome.reason == "closed":
                        self.seen.setdefault(each, outcome)
