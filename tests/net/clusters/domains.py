"""Random trust domains and namespaces."""

from tests import builders
from tests.net.clusters.universe import (
    CIDRS,
    DOMAINS,
    NAMESPACES,
    Universe,
    manifest,
)
from tests.net.stage import Manifest


class Domains(Universe):
    """Draws trust domains and namespaces."""

    def namespace(self, name: str, domain: str = "") -> Manifest:
        draw = self.draw
        chosen = domain or draw.pick((*["red"] * 16, "blue", "blue", "green", "none"))
        labels = {"kubernetes.io/metadata.name": name, "domain": chosen}
        if draw.sometimes():
            labels["extra"] = draw.pick(DOMAINS)
        if draw.often():
            labels["webhooks"] = "yes"
        return {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": name, "labels": labels},
        }

    def domain(self, name: str) -> Manifest:
        draw = self.draw
        others = [each for each in DOMAINS if each != name]
        environment = "prod" if name == "red" else draw.pick(("prod", "stage"))
        spec: Manifest = {
            "domain": f"{name}.example",
            "environment": environment,
            "namespaceSelector": {"matchLabels": {"domain": name}},
            "federatesWith": [{"name": each} for each in draw.subset(others, 0.8)],
        }
        self._add_authority(spec, name)
        if draw.half():
            spec["allowEnvironments"] = ["stage" if environment == "prod" else "prod"]
        if draw.sometimes():
            wider = {"key": "domain", "operator": "In", "values": [name, draw.pick(others)]}
            spec["namespaceSelector"] = {"matchExpressions": [wider]}
        elif draw.sometimes():
            spec["namespaceSelector"] = {"matchLabels": {"extra": name}}
        if draw.chance(0.85 if name == "red" else 0.6):
            spec["tokens"] = draw.pick(
                ({}, {"keyLifetime": "24h"}, {"issuer": "https://i.example"})
            )
        if draw.half():
            spec["consent"] = draw.pick(("Callee", "Mutual"))
        if draw.chance(0.3):
            bundle = {"configMapName": draw.pick(("trust-bundle", "roots")), "propagation": "1m"}
            spec["bundle"] = bundle
        if draw.half():
            spec["network"] = self._network()
        return manifest("TrustDomain", name, spec=spec)

    def _add_authority(self, spec: Manifest, name: str) -> None:
        draw = self.draw
        lifetimes: tuple[Manifest, ...] = (
            {"lifetime": "50m"},
            {"lifetime": "6m"},
            {"dnsNames": [builders.dns_suffix()]},
        )
        if draw.chance(0.2):
            spec["authority"] = {"secretRef": {"name": draw.pick(("ca", f"{name}-ca"))}}
        else:
            plain: tuple[Manifest, ...] = ({}, {}, {"lifetime": "30h"}, {"lifetime": "1h"})
            others = ({"keyAlgorithm": "Ed25519"}, {"keyAlgorithm": "ECDSA-P384"})
            managed = draw.pick((*plain, *others, {"confined": False}))
            spec["authority"] = {"selfManaged": managed}
            if managed.get("lifetime") == "1h" and draw.often():
                lifetimes = lifetimes[:2]
        if draw.chance(0.4) or len(lifetimes) < 3:
            spec["certificates"] = draw.pick(lifetimes)

    def _network(self) -> Manifest:
        draw = self.draw
        network: Manifest = {}
        if draw.half():
            network["dns"] = {
                "namespace": draw.pick(NAMESPACES),
                "podSelector": {"matchLabels": {"app": "other"}},
                "port": draw.pick((53, 9090)),
            }
        if draw.half():
            network["metrics"] = {
                "namespace": draw.pick(NAMESPACES),
                "podSelector": {"matchLabels": {"app": draw.pick(("other", "a"))}},
            }
        if draw.half():
            network["probes"] = {"cidrs": draw.some(CIDRS, 0.3)}
        return network
