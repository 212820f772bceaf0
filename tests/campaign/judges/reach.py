"""Judge of NetworkPolicies: the openings of a policy, and the declared ones.

`tests.networkpolicy` evaluates policies and `tests.oracle` decides what is declared. Neither shares
code with Troth.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product

from tests.builders import OWN, Manifest
from tests.campaign.judges.declared import History, View, identity_of
from tests.networkpolicy import Network, Pod, selects
from tests.oracle import Opening
from tests.oracle import Place as Identity
from tests.strategies import APPS, NAMESPACES, PORTS

Way = tuple[str, str, Opening]
"""A direction, the address of a peer, and a protocol and port."""
Namespaces = Mapping[str, Mapping[str, str]]
"""Labels of namespaces."""
DIRECTIONS = ("Ingress", "Egress")


@dataclass(frozen=True)
class Ground:
    """The pods that policies select, their peers, and the openings to try."""

    pods: Iterable[Pod]
    peers: Iterable[Pod]
    openings: Iterable[Opening]

    def opened(
        self, policy: Manifest | None, namespaces: Namespaces, ways: Iterable[Way] | None = None
    ) -> set[Way]:
        """Return the openings, of these or of all, that a policy has for a pod that it selects."""
        pod = next((each for each in self.pods if policy and _is_selected(policy, each)), None)
        if policy is None or pod is None:
            return set()
        network = Network(namespaces, (policy,))
        return {
            (direction, address, opening)
            for direction, address, opening in (self._ways if ways is None else ways)
            if network.allows(direction, pod, self.by_address[address], opening[1], opening[0])
        }

    def declared(self, view: View, me: Identity) -> set[Way]:
        """Return the declared openings to and from an identity."""
        return {way for way in self._ways if self.is_declared(view, me, way)}

    def is_declared(self, view: View, me: Identity, way: Way) -> bool:
        """Return whether an opening to or from an identity is declared."""
        direction, address, opening = way
        return view.opens(me, direction, self.by_address[address], opening)

    def describe(self, me: Identity, way: Way) -> str:
        """Return an opening in words."""
        direction, address, opening = way
        peer = self.by_address[address]
        name = f"{peer.namespace}/{peer.labels['app']}" if peer.labels.get("app") else address
        return f"{direction} of {'/'.join(me)} for {name} on {opening}"

    @cached_property
    def by_address(self) -> dict[str, Pod]:
        """The peers by their addresses."""
        return {each.address: each for each in self.peers}

    @cached_property
    def namespaces(self) -> set[str]:
        """The namespaces of the pods and their peers."""
        return {each.namespace for each in (*self.pods, *self.peers) if each.namespace}

    @cached_property
    def _ways(self) -> list[Way]:
        return list(product(DIRECTIONS, self.by_address, self.openings))


def _is_selected(policy: Manifest, pod: Pod) -> bool:
    here = policy["metadata"]["namespace"] == pod.namespace
    return bool(here and selects(policy["spec"]["podSelector"], pod.labels))


# The campaign's ground

OPENINGS: list[Opening] = [
    *((protocol, number) for _, number, protocol in PORTS.values()),
    ("UDP", 53),
    ("TCP", 53),
    ("TCP", 443),
]
PODS = [
    Pod(namespace, {"app": app}, f"10.0.{space}.{number}")
    for space, namespace in enumerate(NAMESPACES)
    for number, app in enumerate(APPS, start=1)
]
OUTSIDE = [Pod("", {}, address) for address in ("203.0.113.9", "172.16.0.1", "2001:db8::9")]
OTHERS = ("kube-system", OWN)
"""Namespaces in which nothing is declared."""
GROUND = Ground(PODS, [*PODS, *OUTSIDE], OPENINGS)


def opened_undeclared(
    history: History, before: Manifest | None, policy: Manifest, ground: Ground = GROUND
) -> Iterator[str]:
    """Yield the openings of a written policy that no version declares.

    An edge that a conflict suspends may stay open but may not open. Restored labels open nothing:
    the next write, which closes the policy, is judged.
    """
    if before is not None and before["spec"] == policy["spec"]:
        return
    me = identity_of(policy)
    spaces = {name: {"kubernetes.io/metadata.name": name} for name in ground.namespaces}
    for (kind, ref), versions in history.versions.items():
        if kind == "Namespace" and versions[-1]:
            spaces[ref.name] = versions[-1]["metadata"]["labels"]
    opened = ground.opened(policy, spaces)
    stood = ground.opened(before, spaces, opened)
    views = list(history.views()) if opened else []
    for way in opened:
        stands, is_new = way in stood, before is None
        if not any(_may(ground, view, me, way, stands=stands, is_new=is_new) for view in views):
            yield f"{ground.describe(me, way)} was opened"


def _may(ground: Ground, view: View, me: Identity, way: Way, *, stands: bool, is_new: bool) -> bool:
    """Return whether a policy may have an opening, which it had before or not.

    The policy may be new.
    """
    if me not in view.identities:
        return False
    if not stands:  # a new policy in a conflict opens the resolver only
        return (is_new or not view.unsettled(me)) and ground.is_declared(view, me, way)
    return ground.is_declared(replace(view, suspended_too=True), me, way)


def removed_guard(history: History, policy: Manifest) -> Iterator[str]:
    """Yield a fault if a policy was removed although every version declares its identity.

    The second policy, which only denies, is removed when the selector is settled.
    """
    me = identity_of(policy)
    if policy["metadata"]["name"] == f"{me[1]}-troth-deny":
        return
    if all(
        me in view.identities and view.identities[me].get("enforcement", "Enforce") == "Enforce"
        for view in history.views()
    ):
        yield f"the policy of {me} was removed"
