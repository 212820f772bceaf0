"""Oracle of network access, written from the resources' reference alone.

It works on manifests, not on models, and shares no code with `troth`. It judges pairs of pods and a
port, if at least one of the pods has an enforced identity.
"""

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import wraps
from itertools import product
from typing import Any, ClassVar, Concatenate, ParamSpec, TypeVar

from tests.networkpolicy import Pod, selects, within
from tests.strategies import APPS, TIERS

Manifest = dict[str, Any]
Place = tuple[str, str]
Opening = tuple[str, int]
"""Protocol and port number."""

LABELS = [
    {key: value for key, value in (("app", app), ("tier", tier)) if value}
    for app, tier in product((*APPS, "unheard-of", None), (*TIERS, "unheard-of", None))
]
"""Every set of labels that selectors of the strategies can tell apart."""


def place_of(manifest: Manifest) -> Place:
    return manifest["metadata"]["namespace"], manifest["metadata"]["name"]


P = ParamSpec("P")
T = TypeVar("T")


def once(
    answer: Callable[Concatenate["Declared", P], T],
) -> Callable[Concatenate["Declared", P], T]:
    """Return a method of `Declared` that answers each question only once."""

    @wraps(answer)
    def known(self: "Declared", /, *args: P.args, **kwargs: P.kwargs) -> T:
        question = (answer.__name__, *args, *kwargs.items())
        if question not in self.answers:
            self.answers[question] = answer(self, *args, **kwargs)
        found: T = self.answers[question]
        return found

    return known


@dataclass
class Declared:
    """Manifests by kind, which do not change."""

    labels: ClassVar[list[dict[str, str]]] = LABELS
    domains: dict[str, Manifest]
    leaving: frozenset[str]
    """Domains that are being deleted."""
    namespaces: dict[str, dict[str, str]]
    identities: dict[Place, Manifest]
    endpoints: list[tuple[str, int]]
    webhooks: list[tuple[str, Manifest]]
    """Inbound WebhookEndpoints, each with its namespace."""
    services: list[Manifest]
    now: datetime
    ranks: dict[Place, tuple[str, str, Place]]
    """When the audience of an identity was accepted, and when it was created."""
    suspended_too: bool = False
    """Whether an edge that only a conflict suspends counts as live."""
    answers: dict[Hashable, Any] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    """Answers to earlier questions."""

    @classmethod
    def by(
        cls, manifests: list[Manifest], now: datetime, *, suspended_too: bool = False
    ) -> "Declared":
        return cls(
            domains={m["metadata"]["name"]: m["spec"] for m in manifests if _is(m, "TrustDomain")},
            leaving=frozenset(
                m["metadata"]["name"]
                for m in manifests
                if _is(m, "TrustDomain") and "deletionTimestamp" in m["metadata"]
            ),
            namespaces={
                m["metadata"]["name"]: m["metadata"]["labels"]
                for m in manifests
                if _is(m, "Namespace")
            },
            identities={place_of(m): m["spec"] for m in manifests if _is(m, "ServiceIdentity")},
            endpoints=[
                (address, port["port"])
                for m in manifests
                if _is(m, "EndpointSlice")
                for endpoint in m["endpoints"]
                for address in endpoint["addresses"]
                for port in m["ports"]
            ],
            webhooks=[
                (m["metadata"]["namespace"], m["spec"]["inbound"])
                for m in manifests
                if _is(m, "WebhookEndpoint") and "inbound" in m["spec"]
            ],
            services=[m for m in manifests if _is(m, "Service")],
            now=now,
            ranks={place_of(m): _rank(m) for m in manifests if _is(m, "ServiceIdentity")},
            suspended_too=suspended_too,
        )

    # Namespace -> domain: "a namespace has exactly one"

    def governor(self, namespace: str) -> str | None:
        claims = self.claims(namespace)
        return claims[0] if len(claims) == 1 and claims[0] not in self.leaving else None

    def governors(self, namespace: str) -> list[str]:
        """Return the domains that may govern a namespace, which are several during a conflict.

        One that is being deleted never governs again.
        """
        if not self.suspended_too:
            governor = self.governor(namespace)
            return [governor] if governor is not None else []
        return [name for name in self.claims(namespace) if name not in self.leaving]

    @once
    def claims(self, namespace: str) -> list[str]:
        labels = self.namespaces.get(namespace)
        if labels is None:
            return []
        return [
            name
            for name, spec in self.domains.items()
            if selects(spec["namespaceSelector"], labels)
        ]

    # "Two identities that select the same ServiceAccount, or whose selectors overlap"

    @once
    def shared(self, place: Place) -> bool:
        mine = self.identities[place]["workload"]
        return any(
            mine["serviceAccountName"] == theirs["workload"]["serviceAccountName"]
            or any(
                selects(mine["podSelector"], labels)
                and selects(theirs["workload"]["podSelector"], labels)
                for labels in self.labels
            )
            for other, theirs in self.identities.items()
            if other != place and other[0] == place[0]
        )

    # "An edge is live only when both sides declare it"

    @once
    def live(self, caller: Place, callee: Place, port: str) -> bool:
        """Return whether the edge is live: one domain that may govern each side permits it."""
        return (
            self.consented(caller, callee, port)
            and (self.suspended_too or not (self.shared(caller) or self.shared(callee)))
            and any(
                self._permit(caller, callee, port, first, second)
                for first, second in product(self.governors(caller[0]), self.governors(callee[0]))
            )
        )

    def _permit(self, caller: Place, callee: Place, port: str, first: str, second: str) -> bool:
        """Return whether the edge is allowed if these domains govern caller and callee."""
        return (
            (first == second or self._let_together(first, second))
            and (self._asked(caller, callee, port) or self._callee_decides(first, second))
            and self.tokens_issued(callee, first, second)
            and self.audience_is_its_own(callee, second)
        )

    def together(self, here: str, there: str) -> bool:
        """Return whether trust domains that may govern two namespaces allow calls between them."""
        return any(
            first == second or self._let_together(first, second)
            for first, second in product(self.governors(here), self.governors(there))
        )

    def consented(self, caller: Place, callee: Place, port: str) -> bool:
        """Return whether both sides declare the edge, or the callee alone where that may do."""
        if caller not in self.identities or callee not in self.identities:
            return False
        spec = self.identities[callee]
        return (
            port in self.ports(callee)
            and any(
                _means(entry.get("from"), callee[0]) == caller and port in entry["ports"]
                for entry in spec["accepts"]
            )
            and (self._asked(caller, callee, port) or not self._serves_webhooks(caller))
            and "gatewayOnly" not in self.identities[caller]["authentication"]
            and self.trusted(spec)
        )

    def _asked(self, caller: Place, callee: Place, port: str) -> bool:
        """The caller's consent; for a gateway that serves webhooks, an endpoint may give it."""
        if self._called(caller, callee, port):
            return True
        if not self._serves_webhooks(caller):
            return False
        served = self.identities[caller]["servesWebhooks"]
        labels = self.namespaces.get(callee[0])
        return (
            labels is not None
            and selects(served["allowedNamespaces"], labels)
            and "gatewayOnly" not in self.identities[callee]["authentication"]
            and self._for_nobody_else(callee, port, caller)
            and any(
                (namespace, inbound["target"]["identity"]["name"]) == callee
                and inbound["target"]["port"] == port
                and _means(inbound["gateway"], namespace) == caller
                for namespace, inbound in self.webhooks
            )
        )

    def _for_nobody_else(self, callee: Place, port: str, caller: Place) -> bool:
        """The port must be used for webhooks only."""
        return all(
            _means(entry.get("from"), callee[0]) == caller
            for entry in self.identities[callee]["accepts"]
            if port in entry["ports"]
        )

    def _called(self, caller: Place, callee: Place, port: str) -> bool:
        return any(
            _means(entry.get("to"), caller[0]) == callee and port in entry["ports"]
            for entry in self.identities[caller]["calls"]
        )

    def _serves_webhooks(self, caller: Place) -> bool:
        return self.identities[caller].get("servesWebhooks") is not None

    def _callee_decides(self, first: str, second: str) -> bool:
        """Return whether both domains require the callee's consent alone."""
        return all(self.domains[name].get("consent") == "Callee" for name in (first, second))

    def trusted(self, spec: Manifest) -> bool:
        """GatewayOnly "at most 90 days ahead", "when it expires it fails closed"."""
        trust = spec["authentication"].get("gatewayOnly")
        if trust is None:
            return True
        until = datetime.fromisoformat(trust["expiresAt"])
        return self.now < until <= self.now + timedelta(days=90)

    def tokens_issued(self, callee: Place, *domains: str) -> bool:
        """A callee that requires tokens has live edges only if both domains issue them."""
        asks = "token" in self.identities[callee]["authentication"]
        return not asks or all("tokens" in self.domains[domain] for domain in domains)

    def audience_is_its_own(self, callee: Place, domain: str) -> bool:
        """Return whether no callee within reach of the same tokens has the audience before it.

        The first accepted claim stands, then the oldest identity, then the smallest name.
        """
        audience = self._audience(callee)
        return audience is None or not any(
            claim == domain or self._name_each_other(claim, domain)
            for other in self.identities
            if self.ranks[other] < self.ranks[callee] and self._audience(other) == audience
            for claim in self.claims(other[0])
        )

    def _audience(self, place: Place) -> str | None:
        token = self.identities[place]["authentication"].get("token") or {}
        return token.get("audience")

    def _name_each_other(self, first: str, second: str) -> bool:
        """Two domains with one SPIFFE trust domain never federate, whatever they name."""
        if self.domains[first]["domain"] == self.domains[second]["domain"]:
            return False
        return all(
            {"name": there} in self.domains[here].get("federatesWith", [])
            for here, there in ((first, second), (second, first))
        )

    def _let_together(self, first: str, second: str) -> bool:
        """Both domains must name each other, and each must allow the other's environment."""
        here, there = self.domains[first], self.domains[second]
        return self._name_each_other(first, second) and all(
            theirs["environment"] in [mine["environment"], *mine.get("allowEnvironments", [])]
            for mine, theirs in ((here, there), (there, here))
        )

    def ports(self, place: Place) -> dict[str, Opening]:
        return {
            port["name"]: (port.get("protocol", "TCP"), port["port"])
            for port in self.identities[place]["workload"]["ports"]
        }

    # "Selects nothing but the workload's pods"

    def services_of(self, place: Place) -> list[Manifest]:
        """Return the Services that reach no other pods than an identity's."""
        pods = self.identities[place]["workload"]["podSelector"]
        return [
            service
            for service in self.services
            if service["metadata"]["namespace"] == place[0]
            and all(
                selects(pods, labels)
                for labels in self.labels
                if selects({"matchLabels": service["spec"]["selector"]}, labels)
            )
        ]

    # Pods

    def carried(self, pod: Pod) -> list[Place]:
        """Return the identities whose selector matches a pod."""
        return [
            place
            for place, spec in self.identities.items()
            if place[0] == pod.namespace and selects(spec["workload"]["podSelector"], pod.labels)
        ]

    def enforced(self, pod: Pod) -> list[Place]:
        """Return the identities that isolate a pod: under Enforce, with at least one domain."""
        return [place for place in self.carried(pod) if self.enforces(place)]

    def enforces(self, place: Place) -> bool:
        return bool(
            self.identities[place].get("enforcement", "Enforce") == "Enforce"
            and self.claims(place[0])
        )

    def unsettled(self, place: Place) -> bool:
        """Return whether the identity is in a conflict, during which nothing opens."""
        return self.governor(place[0]) is None or self.shared(place)

    def lets(self, source: Pod, destination: Pod, opening: Opening) -> bool:
        return self.lets_out(source, destination, opening) and self.lets_in(
            source, destination, opening
        )

    def lets_out(self, source: Pod, destination: Pod, opening: Opening) -> bool:
        leaving, isolated = self.enforced(source), self.isolated(source.namespace)
        if not leaving and isolated is None:
            return True
        resolved = isolated is not None and _resolver(isolated, destination, opening)
        return resolved or any(self._leaves(me, destination, opening) for me in leaving)

    def lets_in(self, source: Pod, destination: Pod, opening: Opening) -> bool:
        entering = self.enforced(destination)
        if not entering:
            return self.isolated(destination.namespace) is None
        return any(self._enters(me, source, opening) for me in entering)

    # "Isolation of every pod, for a new TrustDomain by default"

    @once
    def isolated(self, namespace: str) -> Manifest | None:
        """Return the `network` of the domain that isolates a namespace, None if none does."""
        governor = self.governor(namespace)
        observed = any(
            place[0] == namespace and spec.get("enforcement") == "Observe"
            for place, spec in self.identities.items()
        )
        if governor is None or observed:
            return None
        spec = self.domains[governor]
        network: Manifest = spec.get("network") or {}
        return network if spec.get("isolation", "Namespace") == "Namespace" else None

    def _leaves(self, me: Place, to: Pod, opening: Opening) -> bool:
        if self.unsettled(me) and not self.suspended_too:  # in conflict from the beginning
            return all(_resolver(network, to, opening) for network in self._networks(me))
        return (
            any(
                self.live(me, callee, name) and number == opening
                for callee in self.carried(to)
                for name, number in self.ports(callee).items()
            )
            or any(_resolver(network, to, opening) for network in self._networks(me))
            or any(
                opening == ("TCP", port) and within(to.address, cidr)
                for entry in self.identities[me]["calls"]
                if "external" in entry
                for port, cidr in product(entry["external"]["ports"], entry["external"]["cidrs"])
            )
            or (
                {"kubernetesAPI": True} in self.identities[me]["calls"]
                and opening[0] == "TCP"
                and (to.address, opening[1]) in self.endpoints
            )
        )

    def _enters(self, me: Place, source: Pod, opening: Opening) -> bool:
        numbers = self.ports(me)
        named = {name for name, number in numbers.items() if number == opening}
        networks = self._networks(me)
        if self.unsettled(me) and not self.suspended_too:
            common = _common(networks)
            return self._has_its_own_pods(me) and any(self._excepted(me, source, named, common))
        return (
            any(self.live(caller, me, name) for caller in self.carried(source) for name in named)
            or any(
                _described(entry["unverified"], me, source, self.namespaces)
                and ("cidrs" in entry["unverified"] or me not in self.carried(source))
                for entry in self.identities[me]["accepts"]
                if "unverified" in entry and named.intersection(entry["ports"])
            )
            or any(any(self._excepted(me, source, named, network)) for network in networks)
        )

    def _networks(self, me: Place) -> list[Manifest]:
        """Return the `network` of each domain that claims the identity."""
        return [self.domains[name].get("network") or {} for name in self.claims(me[0])]

    def _has_its_own_pods(self, me: Place) -> bool:
        """Return whether no pod can have another identity as well."""
        return not any(
            selects(self.identities[me]["workload"]["podSelector"], labels)
            and selects(theirs["workload"]["podSelector"], labels)
            for other, theirs in self.identities.items()
            if other != me and other[0] == me[0]
            for labels in self.labels
        )

    def _excepted(
        self, me: Place, source: Pod, named: set[str], network: Manifest
    ) -> Iterator[bool]:
        exceptions = self.identities[me].get("exceptions") or {}
        if named.intersection(exceptions.get("probes", [])) and "probes" in network:
            yield any(within(source.address, cidr) for cidr in network["probes"]["cidrs"])
        if named.intersection(exceptions.get("metrics", [])) and "metrics" in network:
            collector = network["metrics"]
            yield (
                source.namespace == collector["namespace"]
                and selects(collector["podSelector"], source.labels)
                and me not in self.carried(source)
            )


def _common(networks: list[Manifest]) -> Manifest:
    """Return the exceptions that all domains describe identically, block by block."""
    first, *others = networks
    common: Manifest = {}
    metrics = first.get("metrics")
    if metrics and all(each.get("metrics") == metrics for each in others):
        common["metrics"] = metrics
    blocks = [(each.get("probes") or {}).get("cidrs", []) for each in networks]
    common["probes"] = {"cidrs": [b for b in blocks[0] if all(b in each for each in blocks)]}
    return common


def _resolver(network: Manifest, to: Pod, opening: Opening) -> bool:
    dns = network.get("dns") or {
        "namespace": "kube-system",
        "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
        "port": 53,
    }
    return (
        opening in (("UDP", dns["port"]), ("TCP", dns["port"]))
        and to.namespace == dns["namespace"]
        and selects(dns["podSelector"], to.labels)
    )


def _rank(identity: Manifest) -> tuple[str, str, Place]:
    """Return the age of an identity's claim to its audience; what is unknown is the youngest."""
    token = identity["spec"]["authentication"].get("token") or {}
    claims = (identity.get("status") or {}).get("claims") or []
    mine = {"kind": "Audience", "name": token.get("audience")}
    accepted = [each["since"] for each in claims if mine.items() <= each.items()]
    created = identity["metadata"].get("creationTimestamp") or "~"
    return min(accepted, default="~"), created, place_of(identity)


def _is(manifest: Manifest, kind: str) -> bool:
    return bool(manifest["kind"] == kind)


def _means(reference: Manifest | None, here: str) -> Place | None:
    return (reference.get("namespace", here), reference["name"]) if reference else None


def _described(peer: Manifest, me: Place, pod: Pod, namespaces: dict[str, dict[str, str]]) -> bool:
    """Return whether an unverified peer matches: by CIDRs, or by namespaces and pods.

    Pods without a namespaceSelector are those of the same namespace.
    """
    if "cidrs" in peer:
        return any(within(pod.address, cidr) for cidr in peer["cidrs"])
    if not pod.namespace:
        return False
    if "namespaceSelector" in peer:
        there = selects(peer["namespaceSelector"], namespaces.get(pod.namespace, {}))
    else:
        there = pod.namespace == me[0]
    return there and selects(peer.get("podSelector") or {}, pod.labels)
