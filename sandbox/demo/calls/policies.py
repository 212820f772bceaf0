"""NetworkPolicies in words, as the API server has them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sandbox.demo.errors import DemoError
from sandbox.demo.namespaces import shown
from sandbox.demo.shop import NAMESPACE_NAME, Manifest, Place, Shop

DNS = Place("kube-system", "k8s-app=kube-dns")


@dataclass(frozen=True, slots=True)
class Summary:
    """The peers that may reach a workload and those it may reach; all others are denied."""

    workload: Place
    inbound: tuple[str, ...]
    outbound: tuple[str, ...]


def summaries(shop: Shop, policies: list[Manifest]) -> Iterator[Summary]:
    """Summarise the NetworkPolicies of identities.

    Raises `DemoError` for a policy that is not default-deny, or that opens an edge that not both
    identities declare.
    """
    for policy in policies:
        place = Place(
            policy["metadata"]["namespace"], policy["metadata"]["labels"]["troth.dev/owner-name"]
        )
        spec = policy["spec"]
        declared = shop.identities[place]["spec"]
        if set(spec["policyTypes"]) != {"Ingress", "Egress"}:
            raise DemoError(f"the NetworkPolicy of {place} does not deny both directions")
        if spec["podSelector"] != declared["workload"]["podSelector"]:
            raise DemoError(f"the NetworkPolicy of {place} does not select the declared pods")
        _check_edges(shop, place, spec)
        words = _Words(shop, place)
        yield Summary(
            place,
            tuple(words.rule(rule, "from") for rule in spec.get("ingress", [])),
            tuple(words.rule(rule, "to") for rule in spec.get("egress", [])),
        )


def isolations(shop: Shop, policies: list[Manifest]) -> Iterator[Summary]:
    """Summarise the NetworkPolicies of isolated namespaces, for the pods without an identity.

    Raises `DemoError` for a policy that does not select every pod, or that opens more than DNS.
    """
    for policy in policies:
        place, spec = Place(policy["metadata"]["namespace"], "*"), policy["spec"]
        if set(spec["policyTypes"]) != {"Ingress", "Egress"} or spec["podSelector"]:
            raise DemoError(f"the NetworkPolicy of {place} does not deny every pod")
        words = _Words(shop, place)
        outbound = tuple(words.rule(rule, "to") for rule in spec.get("egress", []))
        if spec.get("ingress") or outbound != ("DNS:53",):
            raise DemoError(f"the NetworkPolicy of {place} opens more than DNS")
        yield Summary(place, (), outbound)


def _check_edges(shop: Shop, place: Place, spec: Manifest) -> None:
    opened = {
        (side, shop.selected(peer, place.namespace), port["port"])
        for direction, side in (("ingress", "from"), ("egress", "to"))
        for rule in spec.get(direction, [])
        for peer in rule[side]
        for port in rule["ports"]
    }
    agreed = {
        (side, peer, shop.ports(edge.callee)[edge.port])
        for edge in shop.agreed()
        for side, me, peer in (
            ("from", edge.callee, edge.caller),
            ("to", edge.caller, edge.callee),
        )
        if me == place
    }
    if {each for each in opened if each[1]} != agreed:
        raise DemoError(f"the NetworkPolicy of {place} does not open exactly the declared edges")


@dataclass(frozen=True, slots=True)
class _Words:
    """The names of one workload's peers."""

    shop: Shop
    place: Place

    def rule(self, rule: Manifest, side: str) -> str:
        """Return one rule: its peers and ports."""
        peers = ", ".join(self._peer(peer) for peer in rule.get(side, [])) or "anybody"
        ports = "/".join(sorted({str(port["port"]) for port in rule.get("ports", [])}))
        return f"{peers}:{ports or '*'}"

    def _peer(self, peer: Manifest) -> str:
        if "ipBlock" in peer:
            return self._network(peer["ipBlock"]["cidr"])
        namespaces = peer.get("namespaceSelector", {}).get("matchLabels", {})
        labels = peer.get("podSelector", {}).get("matchLabels", {})
        namespace = namespaces.get(NAMESPACE_NAME, self.place.namespace)
        pods = ",".join(f"{key}={value}" for key, value in labels.items())
        if Place(namespace, pods) == DNS:
            return "DNS"
        if labels.get("app.kubernetes.io/component") == "issuer":
            return "the issuer"
        place = self.shop.selected(peer, self.place.namespace)
        if place is not None:
            return place.name if namespace == self.place.namespace else shown(str(place))
        return shown(f"{namespace}/{pods or '*'}")

    def _network(self, cidr: str) -> str:
        calls: list[dict[str, Any]] = self.shop.identities[self.place]["spec"].get("calls", [])
        for call in calls:
            if cidr in call.get("external", {}).get("cidrs", []):
                return f"{call['external']['host']} ({cidr})"
        if any(call.get("kubernetesAPI") for call in calls):
            return f"API server ({cidr})"
        return cidr
