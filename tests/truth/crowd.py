"""Twenty pairs that call without a pause, and an operator that is killed meanwhile."""

import asyncio
import math
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, TypeVar

from cryptography import x509

from sandbox.node.traffic import Traffic
from sandbox.node.workload import Files, Tally
from sandbox.processes import Tether
from tests import builders
from tests.cluster.person import LONG, Manifest, until
from tests.cluster.process import Process
from tests.cluster.stage import DOMAIN, IDENTITY, Stage, leaf_of
from tests.truth.scene import Player, Scene, files_of
from troth.resources.references import Ref

T = TypeVar("T")

ROTATION = "CredentialRotation"
PAIRS, NAMESPACES = 20, 3
RATE = 11  # calls a second of each pair: 220 in total


class Mortal:
    """The only operator of a stage, as a process that is killed and started again."""

    def __init__(self, stage: Stage, tether: Tether) -> None:
        self._stage = stage
        self._tether = tether
        self._lives = 0

    async def live(self) -> None:
        """Start it; return when it is in sync. It leads once the previous lease has expired."""
        self._lives += 1
        name = f"life-{self._lives}"
        self._process = Process(self._tether, name, self._stage.kubeconfig, self._stage.own)
        await self._process.ready()

    async def lead(self) -> None:
        """Wait until it is the leader."""
        await self._process.leads()

    def die(self) -> None:
        """Kill it with SIGKILL."""
        self._process.kill()


@dataclass(frozen=True)
class Pair:
    """A caller and a callee in different namespaces."""

    caller: Ref
    callee: Ref


class Crowd:
    """The pairs, and the outcomes of their calls."""

    def __init__(self, stage: Stage, pairs: list[Pair]) -> None:
        self.stage = stage
        self.pairs = pairs
        self.scene = Scene(stage)

    @classmethod
    async def gathered(cls, stage: Stage) -> "Crowd":
        """Declare the pairs and run their pods; return when they call."""
        while len(stage.namespaces) < NAMESPACES:
            await stage.namespace()
        crowd = cls(stage, [_pair(stage.namespaces, number) for number in range(PAIRS)])
        for pair in crowd.pairs:
            accepts = builders.accept(pair.caller.name, namespace=pair.caller.namespace)
            calls = builders.call(pair.callee.name, namespace=pair.callee.namespace)
            await stage.identity(*_where(pair.callee), ports=["https"], accepts=[accepts])
            await stage.identity(*_where(pair.caller), calls=[calls])
        for ref in crowd.identities:
            await stage.person.hears(IDENTITY, ref, "PeersAgree", "AllLive", "True")
            await stage.person.ready(IDENTITY, ref)
        await crowd.scene.enter(*map(Player.of, crowd.identities))
        await crowd.scene.obeyed()
        await asyncio.to_thread(crowd.traffic.begin)
        return crowd

    @cached_property
    def traffic(self) -> Traffic:
        """The calls of each caller."""
        calls = {str(pair.caller): [self.scene.target(pair.callee.name)] for pair in self.pairs}
        return Traffic(self.stage.sandbox.node, calls, rate=RATE)

    @property
    def identities(self) -> list[Ref]:
        return [ref for pair in self.pairs for ref in (pair.caller, pair.callee)]

    async def talk(self, calls: int = 10) -> dict[str, Tally]:
        """Wait until each pair has made some more calls; return all by the caller's pod."""
        before = await self.by_pod()
        return await until(
            self.by_pod,
            lambda now: all(now[pod].calls >= before[pod].calls + calls for pod in before),
        )

    async def unharmed(self, coming: Coroutine[Any, Any, T]) -> T:
        """Await a coroutine, and fail as soon as any call has failed."""
        task = asyncio.create_task(coming)
        try:
            while True:
                await asyncio.wait({task}, timeout=1)
                failures = [
                    each for tally in (await self.by_pod()).values() for each in tally.failures
                ]
                assert not failures, failures
                if task.done():
                    return task.result()
        finally:
            task.cancel()

    async def by_pod(self) -> dict[str, Tally]:
        return await asyncio.to_thread(self.traffic.by_pod)

    async def fall_silent(self) -> Tally:
        """Stop all calls; return their outcomes."""
        return await asyncio.to_thread(self.traffic.end)

    # Credentials

    async def leaves(self) -> dict[Ref, x509.Certificate]:
        return {ref: leaf_of(await self.stage.secret(ref)) for ref in self.identities}

    async def certificates(self) -> dict[Ref, Files]:
        """Return the current certificate and key of each identity."""
        files = {ref: files_of(await self.stage.secret(ref)) for ref in self.identities}
        return {
            ref: {name: each[name] for name in ("tls.crt", "tls.key")}
            for ref, each in files.items()
        }

    async def renew(self) -> None:
        """Request a new leaf for each identity; return when each rotation reports it."""
        before, moment = await self.leaves(), builders.stamp(_next_second())
        rotations = [
            builders.rotation("ServiceIdentity", *_where(ref), requestedAt=moment)
            for ref in self.identities
        ]
        await self.stage.person.put(*rotations)
        for rotation in rotations:
            await self.stage.person.sees(
                ROTATION, Ref.of(rotation), _rotated_since(moment), patience=LONG
            )
        after = await self.leaves()
        for ref, leaf in after.items():
            assert leaf.public_key() != before[ref].public_key(), ref

    async def ask_for_a_root(self) -> Ref:
        """Request a new root; return the rotation."""
        moment = builders.stamp(_next_second())
        own = self.stage.own
        rotation = builders.rotation(DOMAIN, self.stage.name, own, requestedAt=moment)
        await self.stage.person.put(rotation)
        return Ref.of(rotation)

    async def root(self) -> x509.Certificate:
        """Return the root that signs."""
        secret = await self.stage.person.the("Secret", self.authority)
        return x509.load_pem_x509_certificate(files_of(secret)["tls.crt"].encode())

    @property
    def authority(self) -> Ref:
        """Name of the root's Secret."""
        return Ref(self.stage.own, f"{self.stage.name}-authority")


def _pair(namespaces: list[str], number: int) -> Pair:
    here, there = (namespaces[(number + step) % len(namespaces)] for step in (0, 1))
    return Pair(Ref(here, f"caller-{number}"), Ref(there, f"callee-{number}"))


def _where(ref: Ref) -> tuple[str, str]:
    return ref.name, ref.namespace


def _next_second() -> datetime:
    """Return the next full second, which is after the issue time of everything that exists now."""
    return datetime.fromtimestamp(math.ceil(datetime.now(UTC).timestamp() + 0.001), UTC)


def _rotated_since(moment: str) -> Callable[[Manifest], bool]:
    return lambda found: str(found.get("status", {}).get("lastRotated", "")) >= moment


def key_id(root: x509.Certificate) -> str:
    """Return the root's subject key identifier in hex, by which leaves name their issuer."""
    extension = root.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    return extension.value.digest.hex()
