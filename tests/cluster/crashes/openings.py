"""Whether every policy that ever stood was as narrow as what was declared, judged from outside.

Two sentences, for each state that the API server told of: no write opens what is not declared at
that very moment, and no policy goes that still has somebody to guard. What is withdrawn may so stay
open until it is closed, and never opens again. The third, that in the end nothing is open that
nobody declares, is judged of the last states.

What a policy opens is decided by `tests.networkpolicy` and what is declared by `tests.oracle`,
which share no code with Troth.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import product

from tests.campaign.judging import View, view_of
from tests.cluster.person import Manifest
from tests.cluster.witness import Sight
from tests.networkpolicy import Network, Pod, selects
from tests.oracle import Opening, Place

POLICY = "NetworkPolicy"
DECLARED = ("Namespace", "TrustDomain", "ServiceIdentity", "WebhookEndpoint")
DIRECTIONS = ("Ingress", "Egress")
PORTS: tuple[Opening, ...] = (
    *(("TCP", port) for port in (53, 443, 8443, 9443, 10_000)),
    *(("UDP", port) for port in (53, 8443)),
)
RESOLVERS = {"kube-system": {"kubernetes.io/metadata.name": "kube-system"}}
ELSEWHERE = [
    Pod("kube-system", {"k8s-app": "kube-dns"}, "10.99.0.1"),
    Pod("kube-system", {"app": "stranger"}, "10.99.0.2"),
    Pod("", {}, "203.0.113.9"),
    Pod("", {}, "192.0.2.9"),
]
Way = tuple[str, str, Opening]
"""A direction, the address of a peer, and what is open to it."""


@dataclass
class Ground:
    """What stands at a moment: what is declared, and the policies."""

    now: datetime
    pods: list[Pod]
    """One for each identity there will ever be, and a stranger in each namespace."""
    objects: dict[tuple[str, Place], Manifest] = field(default_factory=dict)

    def see(self, sight: Sight) -> Iterator[str]:
        """Take in one state of one object; yield what is wrong with it."""
        manifest = sight.manifest
        metadata = manifest["metadata"]
        key = manifest["kind"], (metadata.get("namespace", ""), metadata["name"])
        before = self.objects.pop(key, None)
        if sight.type != "DELETED":
            self.objects[key] = manifest
        if manifest["kind"] == POLICY:
            yield from self._faults(before, None if sight.type == "DELETED" else manifest)

    def left_open(self) -> Iterator[str]:
        """Yield what is open still and nobody declares; where nobody governs nothing is judged."""
        view = self._view()
        for (kind, _), policy in self.objects.items():
            if kind == POLICY and _guards(policy, view):
                for way in self._open(policy) - self._declared(policy, view):
                    yield f"{self._told(policy, way)} is open"

    def _faults(self, before: Manifest | None, after: Manifest | None) -> Iterator[str]:
        view = self._view()
        if before and after and _generation(after) > _generation(before) + 1:
            yield f"a state of the policy of {guarded_by(after)} was not seen"
        if after is not None:
            opened = self._open(after) - (self._open(before) if before else set())
            for way in opened - self._declared(after, view):
                yield f"{self._told(after, way)} was opened"
        elif before is not None and _guards(before, view):
            yield f"the policy of {guarded_by(before)} went"

    def _view(self) -> View:
        declared = [each for (kind, _), each in self.objects.items() if kind in DECLARED]
        return view_of(declared, self.now)

    def _open(self, policy: Manifest) -> set[Way]:
        spaces = {
            place[1]: each["metadata"]["labels"]
            for (kind, place), each in self.objects.items()
            if kind == "Namespace"
        }
        network = Network({**RESOLVERS, **spaces}, (policy,))
        (chosen,) = (pod for pod in self.pods if _selects(policy, pod))
        return {
            (direction, peer.address, opening)
            for direction, peer, opening in self._ways()
            if network.allows(direction, chosen, peer, opening[1], opening[0])
        }

    def _declared(self, policy: Manifest, view: View) -> set[Way]:
        if not _guards(policy, view):
            return set()
        me = guarded_by(policy)
        return {
            (direction, peer.address, opening)
            for direction, peer, opening in self._ways()
            if view.opens(me, direction, peer, opening)
        }

    def _ways(self) -> Iterable[tuple[str, Pod, Opening]]:
        return product(DIRECTIONS, [*self.pods, *ELSEWHERE], PORTS)

    def _told(self, policy: Manifest, way: Way) -> str:
        direction, address, opening = way
        (peer,) = (pod for pod in [*self.pods, *ELSEWHERE] if pod.address == address)
        who = f"{peer.namespace}/{peer.labels['app']}" if peer.labels.get("app") else address
        return f"{direction} of {'/'.join(guarded_by(policy))} for {who} on {opening}"


def guarded_by(policy: Manifest) -> Place:
    metadata = policy["metadata"]
    return metadata["namespace"], metadata["ownerReferences"][0]["name"]


def _generation(policy: Manifest) -> int:
    """How often its spec was changed, as the API server counts."""
    return int(policy["metadata"]["generation"])


def _guards(policy: Manifest, view: View) -> bool:
    """Whether its identity is there, and one trust domain governs it."""
    me = guarded_by(policy)
    return me in view.identities and not view.unsettled(me)


def _selects(policy: Manifest, pod: Pod) -> bool:
    here = policy["metadata"]["namespace"] == pod.namespace
    return bool(here and selects(policy["spec"]["podSelector"], pod.labels))
