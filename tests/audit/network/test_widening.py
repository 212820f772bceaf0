"""A foreign NetworkPolicy is found exactly if some packet passes because of it.

The packets are judged by `tests.networkpolicy`, which shares no code with Troth.
"""

from dataclasses import dataclass
from itertools import product

from hypothesis import example, given
from hypothesis import strategies as st

from tests.builders import NOW, Cluster, Manifest, domain, identity, unverified
from tests.builders import namespace as namespace_of
from tests.networkpolicy import Network, Pod, selects
from tests.planning.test_reachability import compiled
from tests.strategies import APPS, CIDRS, NAMESPACES, TIERS, clusters, half, more, selectors, some
from troth.audit.registry import RULE_BY_ID
from troth.audit.scene import Scene, scene_of
from troth.resources.references import Ref

RULE = RULE_BY_ID["TR602"]
NAMED = {"web": 8080, "grpc": 9090}
PORTS = (
    *product((8080, 8500, 9090, 7777), ("TCP", "UDP", "SCTP")),
    *product((443, 53), ("TCP", "UDP")),
)
"""A port of each kind that a policy can tell apart."""
WAYS = (("Ingress", "Egress"), ("Egress", "Ingress"))
"""A direction, and the same as the other end sees it."""
ADDRESSES = ("203.0.113.5", "10.0.1.7", "10.0.1.9", "10.0.2.1", "198.51.100.1")
OUTSIDE = [Pod("", {}, each) for each in ADDRESSES]
V4 = [each for each in CIDRS if ":" not in each]

blocks = st.fixed_dictionaries({"cidr": st.sampled_from(V4)}) | st.just(
    {"cidr": "10.0.0.0/16", "except": ["10.0.1.0/24"]}
)
spaces: st.SearchStrategy[Manifest] = st.just({}) | st.sampled_from(NAMESPACES).map(
    lambda name: {"matchLabels": {"kubernetes.io/metadata.name": name}}
)
peers = (
    st.fixed_dictionaries({"ipBlock": blocks})
    | st.fixed_dictionaries({"podSelector": selectors() | st.just({})})
    | st.fixed_dictionaries({"namespaceSelector": spaces}, optional={"podSelector": selectors()})
)
ports = st.fixed_dictionaries(
    {}, optional={"protocol": st.sampled_from(("TCP", "UDP", "SCTP"))}
).flatmap(
    lambda port: st.sampled_from(
        (
            port,
            {**port, "port": 8080},
            {**port, "port": 8000, "endPort": 9000},
            {"protocol": "TCP", "port": "web"},
        )
    )
)


@st.composite
def rules(draw: st.DrawFn, side: str) -> Manifest:
    rule: Manifest = {}
    if draw(st.sampled_from((True, True, True, False))):
        rule[side] = draw(st.lists(peers, min_size=1, max_size=2))
    if draw(half):
        rule["ports"] = draw(st.lists(ports, min_size=1, max_size=2))
    return rule


@st.composite
def foreign(draw: st.DrawFn, name: str) -> Manifest:
    """Draw a NetworkPolicy of somebody else."""
    spec: Manifest = {"podSelector": draw(selectors() | st.just({}))}
    types = draw(some(("Ingress", "Egress")))
    for each, side in (("Ingress", "from"), ("Egress", "to")):
        if each in types:
            spec[each.lower()] = draw(st.lists(rules(side), max_size=2))
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": draw(st.sampled_from(NAMESPACES))},
        "spec": {**spec, "policyTypes": types},
    }


@st.composite
def pods(draw: st.DrawFn) -> list[Manifest]:
    """Draw the pods of the cluster; some have a replica."""
    found: list[Manifest] = []
    kinds = list(product(NAMESPACES, APPS, (None, *TIERS)))
    for namespace, app, tier in draw(st.lists(st.sampled_from(kinds), min_size=2, max_size=6)):
        labels = {"app": app} | ({"tier": tier} if tier else {})
        name = f"{app}-{tier}"
        for number in range(draw(st.sampled_from((1, 2)))):
            found.append(pod(f"{name}-{number}", name, namespace, labels, len(found)))
    return list({Ref.of(each): each for each in found}.values())


def pod(name: str, owner: str, namespace: str, labels: Manifest, number: int) -> Manifest:
    controller = {"kind": "StatefulSet", "name": owner, "uid": "1", "controller": True}
    listed = [{"name": name, "containerPort": port} for name, port in NAMED.items()]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": labels,
            "ownerReferences": [controller],
        },
        "spec": {"containers": [{"name": "main", "ports": listed}]},
        "status": {"phase": "Running", "podIPs": [{"ip": f"172.20.0.{number + 1}"}]},
    }


def judged(manifest: Manifest) -> Pod:
    """Return a pod as the oracle takes it."""
    metadata = manifest["metadata"]
    address = manifest["status"]["podIPs"][0]["ip"]
    return Pod(metadata["namespace"], metadata["labels"], address, NAMED)


@dataclass(frozen=True)
class Judge:
    """Judges packets between pods, and between pods and addresses."""

    declared: list[Manifest]
    own: tuple[Manifest, ...]
    """Policies of Troth."""
    others: tuple[Manifest, ...]
    pods: list[Pod]

    def widens(self, policy: Manifest) -> bool:
        """Return whether a packet from or to a pod of an identity passes because of a policy.

        The other end of the packet must allow it, by whatever policies.
        """
        before, after = self._network(*self.own), self._network(*self.own, policy)
        everything = self._network(*self.own, *self.others)
        for pod, peer in product(filter(self._has_identity, self.pods), [*self.pods, *OUTSIDE]):
            for number, protocol in PORTS if pod != peer else ():
                for direction, opposite in WAYS:
                    if (
                        after.allows(direction, pod, peer, number, protocol)
                        and not before.allows(direction, pod, peer, number, protocol)
                        and everything.allows(opposite, peer, pod, number, protocol)
                    ):
                        return True
        return False

    def _network(self, *policies: Manifest) -> Network:
        labels = {
            each["metadata"]["name"]: each["metadata"]["labels"]
            for each in self.declared
            if each["kind"] == "Namespace"
        }
        return Network({name: {} for name in NAMESPACES} | labels, policies)

    def _has_identity(self, pod: Pod) -> bool:
        return any(
            each["kind"] == "ServiceIdentity"
            and each["metadata"]["namespace"] == pod.namespace
            and selects(each["spec"]["workload"]["podSelector"], pod.labels)
            for each in self.declared
        )


def claimed(scene: Scene, namespace: str) -> bool:
    """Return whether any TrustDomain selects a namespace: Troth closes its identities then."""
    return bool(scene.world.registry.governance(namespace).claims)


def found_in(scene: Scene) -> set[Ref]:
    return {each.subject.ref for each in RULE.find(scene, "")}


PUBLIC = [
    domain("red"),
    namespace_of("south", domain="red"),
    identity(
        "b",
        "south",
        ports=[("web", 8080)],
        accepts=[unverified("web", cidrs=["10.0.0.0/16"])],
    ),
]


def from_block(name: str, port: Manifest) -> Manifest:
    """Return a policy that opens a port to a block of addresses, which an identity may accept."""
    rule = {"from": [{"ipBlock": {"cidr": "10.0.0.0/16", "except": ["10.0.1.0/24"]}}]}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": "south"},
        "spec": {
            "podSelector": {},
            "ingress": [{**rule, "ports": [port]}],
            "policyTypes": ["Ingress"],
        },
    }


@more(2)
@given(clusters(), st.tuples(foreign("one"), foreign("two")), pods())
@example(
    PUBLIC,
    (from_block("one", {"port": 8080}), from_block("two", {"port": 8000, "endPort": 9000})),
    [pod("b-0", "b", "south", {"app": "b"}, 0)],
)
def test_policy_is_found_exactly_if_a_packet_passes_because_of_it(
    declared: list[Manifest], others: tuple[Manifest, Manifest], there: list[Manifest]
) -> None:
    own = tuple(compiled(Cluster.of(*declared)))
    scene = scene_of([*declared, *own, *others, *there], NOW, in_cluster=True)
    judge = Judge(declared, own, others, [judged(each) for each in there])
    expected = {
        Ref.of(each)
        for each in others
        if claimed(scene, each["metadata"]["namespace"]) and judge.widens(each)
    }
    assert found_in(scene) == expected
