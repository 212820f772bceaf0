"""Initial objects of a random cluster."""

from collections.abc import Iterable

from tests.net.clusters.objects import Objects
from tests.net.clusters.universe import (
    BROKERS,
    DOMAINS,
    ENDPOINTS,
    HOOKS,
    NAMES,
    NAMESPACES,
    PLACES,
)
from tests.net.stage import Manifest


class Initial(Objects):
    """Yields the objects that exist before any change."""

    def _beginning(self) -> Iterable[Manifest]:
        yield from self._governed()
        yield from self._foreign()
        yield from self._workloads()
        yield from getattr(self, f"_with_{self._theme}")()

    def _governed(self) -> Iterable[Manifest]:
        draw, declared = self._draw, self._declared
        if draw.often():
            yield self._authority("ca", "red")
        for name in DOMAINS:
            if name == "red" or draw.chance(0.4):
                if draw.often():
                    yield self._authority(f"{name}-ca", name)
                yield declared.domain(name)
        for name in (*NAMESPACES, HOOKS):
            if draw.often():
                yield declared.namespace(name, "red" if draw.chance(0.85) else "")

    def _workloads(self) -> Iterable[Manifest]:
        draw, declared = self._draw, self._declared
        wanted = {each for wish in declared.wishes for each in (wish.caller, wish.callee)}
        if self._theme == "brokers":
            wanted = {use.identity for use in declared.uses} | set(sorted(wanted)[:2])
        for place in sorted(wanted):
            if draw.often():
                yield declared.identity(place)
            if draw.chance(0.3):
                yield declared.workload(*place)
        if draw.chance(0.4):
            yield declared.service(draw.pick(NAMESPACES), draw.pick(NAMES))
        if draw.half():
            yield self._slice()

    def _with_identities(self) -> Iterable[Manifest]:
        if self._draw.half():
            yield self._declared.rotation("ServiceIdentity", self._draw.pick(PLACES))

    def _with_brokers(self) -> Iterable[Manifest]:
        draw, declared = self._draw, self._declared
        for name in BROKERS:
            if name == "main" or draw.half():
                yield declared.broker(name)
        for place in sorted({use.policy for use in declared.uses}):
            if draw.often():
                yield declared.policy(place)
            if draw.half():
                yield declared.schemas(place[0])
        if draw.chance(0.8):
            yield declared.rotation("MessageBroker", ("east", "main"))

    def _with_webhooks(self) -> Iterable[Manifest]:
        draw, declared = self._draw, self._declared
        yield declared.gateway()
        for number, name in enumerate(ENDPOINTS):
            target = NAMES[number % 2]
            if number and draw.half():
                continue
            yield declared.target(("north", target))
            if draw.often():
                yield declared.service("north", target)
            yield declared.endpoint(("north", name), target)
            if draw.chance(0.4):
                yield declared.rotation("WebhookEndpoint", ("north", name))
        if draw.chance(0.7):
            yield self._keys()

    def _with_rotations(self) -> Iterable[Manifest]:
        draw, declared = self._draw, self._declared
        for _ in range(1 + draw.below(3)):
            yield self._some_rotation()
        for wish in declared.wishes:
            for kind in ("Deployment", "StatefulSet", "DaemonSet"):
                if draw.chance(0.8):
                    yield declared.workload(*wish.callee, kind)
            if draw.chance(0.1):
                yield declared.budget(*wish.callee)
