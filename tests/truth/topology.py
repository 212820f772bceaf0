"""Random topologies, and changes to them, from a seed."""

import copy
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any

Manifest = dict[str, Any]
Place = tuple[str, str]

PORTS = [("https", 8443), ("admin", 9443), ("grpc", 7443)]
OBSERVING = ("team0", "team1")
"""Namespaces with identities in Observe mode, whose other pods no domain isolates."""
DOMAINS = ("production", "partner", "staging")
STRANGERS = "strangers"


@dataclass
class Topology:
    """Trust domains, namespaces and identities; `random` decides every change."""

    seed: int
    size: int
    now: datetime
    random: Random = field(init=False)
    domains: dict[str, Manifest] = field(default_factory=dict)
    namespaces: dict[str, str] = field(default_factory=dict)
    """Each namespace and the domain that governs it."""
    identities: dict[Place, Manifest] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.random = Random(self.seed)
        self._declare_domains()
        for number in range(self.size):
            namespace = self.random.choice(list(self.namespaces))
            self.identities[namespace, f"s{number}"] = {}
        for place in self.identities:
            self.identities[place] = self._identity(place)
        for _ in range(self.size * 4):
            self._declare_edge()

    def manifests(self) -> list[Manifest]:
        """Return all manifests, as a user applies them."""
        return [
            *(_resource("TrustDomain", (None, name), spec) for name, spec in self.domains.items()),
            *(self._namespace(name) for name in (*self.namespaces, STRANGERS)),
            *(
                _resource("ServiceIdentity", place, spec)
                for place, spec in sorted(self.identities.items())
            ),
        ]

    def mutated(self) -> "Topology":
        """Return a copy with a handful of random changes to the declared edges."""
        after = copy.deepcopy(self)
        after.random = Random(self.random.random())
        for _ in range(max(6, self.size // 3)):
            after.random.choice(
                (
                    after._declare_edge,
                    after._drop_acceptance,
                    after._drop_call,
                    after._toggle_enforcement,
                    after._move_port,
                )
            )()
        return after

    # Objects

    def _declare_domains(self) -> None:
        for name in DOMAINS:
            self.domains[name] = {
                "domain": f"{name}.example",
                "environment": "testing" if name == "staging" else "live",
                "namespaceSelector": {"matchLabels": {"domain": name}},
                "authority": {"selfManaged": {}},
                "consent": "Mutual",
                "federatesWith": [],
            }
        for one, other in (("production", "partner"), ("partner", "production")):
            self.domains[one]["federatesWith"].append({"name": other})
        if self.random.random() < 0.5:  # one side alone is not enough
            self.domains["staging"]["federatesWith"].append({"name": "production"})
        for number, domain in enumerate([*DOMAINS, "production", "production"]):
            self.namespaces[f"team{number}"] = domain

    def _namespace(self, name: str) -> Manifest:
        labels = {"kubernetes.io/metadata.name": name}
        if name in self.namespaces:
            labels["domain"] = self.namespaces[name]
        return {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": name, "labels": labels},
        }

    def _identity(self, place: Place) -> Manifest:
        name = place[1]
        ports = self.random.sample(PORTS, self.random.randint(1, 2))
        spec: Manifest = {
            "workload": {
                "serviceAccountName": name,
                "podSelector": {"matchLabels": {"app": name}},
                "ports": [
                    {"name": port, "port": number, "protocol": "TCP"} for port, number in ports
                ],
            },
            "authentication": {"mtls": {}},
            "accepts": [],
            "calls": [],
            "enforcement": (
                "Observe" if self.random.random() < 0.2 and place[0] in OBSERVING else "Enforce"
            ),
        }
        if self.random.random() < 0.1:
            self._trust_a_gateway(place, spec)
        elif self.random.random() < 0.2:
            spec["accepts"].append(self._unverified(spec))
        return spec

    def _trust_a_gateway(self, place: Place, spec: Manifest) -> None:
        gateway = self.random.choice([each for each in self.identities if each != place])
        days = self.random.choice((-1, 30, 200))  # past, in force, too far
        until = self.now + timedelta(days=days)
        reference = {"namespace": gateway[0], "name": gateway[1]}
        spec["authentication"] = {
            "gatewayOnly": {
                "gateway": reference,
                "reason": "a topology of the truth test",
                "owner": "the truth test",
                "expiresAt": until.strftime("%Y-%m-%dT%H:%M:%SZ"),
            }
        }
        ports = [port["name"] for port in spec["workload"]["ports"]]
        spec["accepts"].append({"from": reference, "ports": ports})

    def _unverified(self, spec: Manifest) -> Manifest:
        peer: Manifest = {"reason": "a topology of the truth test"}
        kind = self.random.randrange(3)
        if kind == 0:
            peer["namespaceSelector"] = {"matchLabels": {"kubernetes.io/metadata.name": STRANGERS}}
        elif kind == 1:
            peer["podSelector"] = {"matchLabels": {"role": "visitor"}}
        else:
            peer["namespaceSelector"] = {
                "matchExpressions": [
                    {"key": "domain", "operator": "In", "values": ["staging", "partner"]}
                ]
            }
            peer["podSelector"] = {"matchLabels": {"role": "visitor"}}
        return {"unverified": peer, "ports": [spec["workload"]["ports"][0]["name"]]}

    # Changes

    def _declare_edge(self) -> None:
        """Declare an edge by both sides, or by one of them."""
        caller, callee = self.random.sample(sorted(self.identities), 2)
        port = self.random.choice(self.identities[callee]["workload"]["ports"])["name"]
        side = self.random.choice(("both", "both", "both", "caller", "callee"))
        gateway_only = "gatewayOnly" in self.identities[callee]["authentication"]
        if side != "caller" and not gateway_only:
            scopes = self.random.sample(["read", "write", "admin"], self.random.randint(0, 2))
            self.identities[callee]["accepts"].append(
                {
                    "from": {"namespace": caller[0], "name": caller[1]},
                    "ports": [port],
                    "scopes": sorted(scopes),
                }
            )
        if side != "callee" and "mtls" in self.identities[caller]["authentication"]:
            self.identities[caller]["calls"].append(
                {"to": {"namespace": callee[0], "name": callee[1]}, "ports": [port]}
            )

    def _drop_acceptance(self) -> None:
        self._drop("accepts", lambda spec: "mtls" in spec["authentication"])

    def _drop_call(self) -> None:
        self._drop("calls", bool)

    def _drop(self, side: str, allowed: Any) -> None:
        having = [
            spec for _, spec in sorted(self.identities.items()) if spec[side] and allowed(spec)
        ]
        if having:
            entries = self.random.choice(having)[side]
            entries.pop(self.random.randrange(len(entries)))

    def _toggle_enforcement(self) -> None:
        places = [place for place in sorted(self.identities) if place[0] in OBSERVING]
        spec = self.identities[self.random.choice(places)]
        spec["enforcement"] = "Observe" if spec["enforcement"] == "Enforce" else "Enforce"

    def _move_port(self) -> None:
        """Accept a peer on another port than before."""
        having = [
            spec
            for _, spec in sorted(self.identities.items())
            if any("from" in entry for entry in spec["accepts"])
            and len(spec["workload"]["ports"]) > 1
        ]
        if having:
            spec = self.random.choice(having)
            entry = self.random.choice([each for each in spec["accepts"] if "from" in each])
            entry["ports"] = [self.random.choice(spec["workload"]["ports"])["name"]]


def _resource(kind: str, place: tuple[str | None, str], spec: Manifest) -> Manifest:
    namespace, name = place
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {
        "apiVersion": "troth.dev/v1alpha1",
        "kind": kind,
        "metadata": metadata,
        "spec": spec,
    }
