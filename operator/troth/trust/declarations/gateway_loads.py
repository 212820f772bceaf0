"""The room that the targets of each namespace take in the documents of a webhook gateway.

The `identity.json` and the NetworkPolicy of a gateway list every target, and WebhookEndpoints of
many namespaces declare them. So this room is divided into shares.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple

from troth.resources.identity.spec import ServiceIdentity
from troth.resources.references import Ref
from troth.resources.selectors import LabelSelector
from troth.trust.declarations.governance import NEVER
from troth.trust.shares import without_room

DOCUMENT, RULES, PEERS = 900_000, 1_200_000, 240_000
"""Maximum bytes of an identity's Secret, of the rules of its NetworkPolicy, and of the list of live
peers there."""
ROOM = 800_000
"""Millionths of the documents that targets may take. The rest is for the gateway's own calls."""

_DOMAIN = 100
"""Bytes of the name of a trust domain. Only administrators choose it."""


class Load(NamedTuple):
    """Millionths of that document of a gateway that a target fills most, and the target's age."""

    created: datetime
    target: Ref
    weight: int


Weigh = Callable[[Ref], Load | None]
"""Returns the load of a target, None if the gateway does not list it."""
Serves = Callable[[str], bool]
"""Returns whether the gateway serves a namespace."""


def load_of(target: Ref, identity: ServiceIdentity | None, ports: frozenset[str]) -> Load:
    """Return the load of a target with these ports. `identity` is None if it cannot be read.

    The sizes are upper bounds of the entries that Troth writes.
    """
    name, names = len(str(target)), sum(map(len, ports))
    pods = token = 0
    spiffe_id = 20 + _DOMAIN + len(target.namespace)
    created = datetime.min.replace(tzinfo=UTC)
    if identity is not None:
        spiffe_id += len(identity.spec.workload.service_account_name)
        required = identity.spec.authentication.token
        token = 100 + max(len(required.audience or ""), spiffe_id) if required is not None else 0
        pods = _size(identity.spec.workload.pod_selector)
        created = identity.metadata.creation_timestamp or NEVER
    document = 130 + name + spiffe_id + names + 15 * len(ports) + token
    rules = 150 + len(target.namespace) + pods + 40 * len(ports)
    peers = 40 + name + names + 20 * len(ports)
    fractions = (document, DOCUMENT), (rules, RULES), (peers, PEERS)
    return Load(created, target, max(-(-1_000_000 * size // most) for size, most in fractions))


def _size(pods: LabelSelector) -> int:
    """Return the bytes of a pod selector in a NetworkPolicy, at most."""
    labels = sum(len(key) + len(value) + 6 for key, value in pods.match_labels.items())
    expressions = sum(
        50 + len(each.key) + sum(len(value) + 3 for value in each.values)
        for each in pods.match_expressions
    )
    return 50 + labels + expressions


class GatewayLoads:
    """Index of the loads of gateways, and of the targets for which they have no room."""

    def __init__(self) -> None:
        self._known: dict[Ref, _Gateway] = {}
        self._before: dict[Ref, frozenset[Ref]] = {}

    def touch(self, gateway: Ref, target: Ref | None = None) -> None:
        """Note that the load of a target may have changed, or which namespaces are served."""
        known = self._known.get(gateway)
        if known is not None:
            self._note_change(gateway, known)
            if target is not None:
                known.touched.add(target)

    def forget(self, gateway: Ref) -> None:
        """Forget a gateway that has changed or is gone."""
        known = self._known.pop(gateway, None)
        if known is not None:
            self._note_change(gateway, known)

    def over_share(
        self, gateway: Ref, targets: Callable[[], Iterable[Ref]], weigh: Weigh, serves: Serves
    ) -> frozenset[Ref]:
        """Return the targets for which a gateway has no room; `targets` returns all of them.

        Without room for all, each namespace above a common level loses its newest targets.
        """
        known = self._known.get(gateway)
        if known is None:
            known = self._known[gateway] = _Gateway(touched=set(targets()))
        if known.over is None:
            for target in known.touched:
                known.put(target, weigh(target))
            known.touched.clear()
            known.over = frozenset(known.over_share(serves))
        return known.over

    def changed(self) -> Iterable[tuple[Ref, frozenset[Ref]]]:
        """Return the gateways whose shares may have changed since the last call.

        Each comes with the targets for which it had no room when that was last asked for.
        """
        before, self._before = self._before, {}
        return before.items()

    def _note_change(self, gateway: Ref, known: "_Gateway") -> None:
        if known.over is not None:
            self._before.setdefault(gateway, known.over)
            known.over = None


@dataclass(slots=True)
class _Gateway:
    """Loads of a gateway by namespace, and the targets whose loads are not known yet."""

    touched: set[Ref]
    loads: dict[str, dict[Ref, Load]] = field(default_factory=dict)
    total: int = 0
    over: frozenset[Ref] | None = None

    def put(self, target: Ref, load: Load | None) -> None:
        """Replace the load of a target."""
        loads = self.loads.setdefault(target.namespace, {})
        self.total += _weight(load) - _weight(loads.pop(target, None))
        if load is not None:
            loads[target] = load
        if not loads:
            del self.loads[target.namespace]

    def over_share(self, serves: Serves) -> Iterator[Ref]:
        """Yield the targets for which there is no room."""
        if self.total <= ROOM:
            return
        served = [sorted(loads.values()) for name, loads in self.loads.items() if serves(name)]
        for load in without_room(served, ROOM, _weight):
            yield load.target


def _weight(load: Load | None) -> int:
    return load.weight if load is not None else 0
