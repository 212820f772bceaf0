"""Random identities: each declares its share of the wished edges."""

from datetime import timedelta

from tests.net.clusters.domains import Domains
from tests.net.clusters.universe import (
    APPS,
    CIDRS,
    DOMAINS,
    NAMES,
    PORTS,
    SCOPES,
    Place,
    manifest,
    reference,
    stamp,
)
from tests.net.stage import Manifest


class Identities(Domains):
    """Draws identities."""

    def identity(self, place: Place) -> Manifest:
        draw, (here, name) = self.draw, place
        accepts = self._accepts(place)
        calls = self._calls(place)
        spec: Manifest = {"authentication": {"mtls": self._certificate()}}
        if draw.sometimes():
            spec["authentication"], accepts = self._gateway_only(here, accepts)
            calls = []
        else:
            if draw.chance(0.3):
                accepts.append(self._unverified())
            self._with_certificate(spec, name)
            if draw.chance(0.4):
                token: Manifest = dict(draw.pick(({}, {"audience": "https://one.example"})))
                if draw.half():
                    token["certificate"] = self._certificate()
                spec["authentication"] = {"token": token}
        if draw.chance(0.3):
            cidrs = draw.some(CIDRS, 0.3)
            calls.append({"external": {"host": "x.example", "cidrs": cidrs, "ports": [443]}})
        if draw.sometimes():
            calls.append({"kubernetesAPI": True})
        if draw.chance(0.3):
            spec["exceptions"] = {"probes": draw.subset(PORTS), "metrics": draw.subset(PORTS)}
        if draw.sometimes():
            spec["enforcement"] = "Observe"
        if draw.sometimes():
            spec["requires"] = {"context": draw.subset(("Subject", "Tenant", "RequestID"))}
        spec |= {"publishes": self._by(place), "consumes": self._by(place, consumes=True)}
        named = {port for entry in accepts for port in entry["ports"]}
        named |= {port for ports in spec.get("exceptions", {}).values() for port in ports}
        offered = sorted(named | set(draw.subset(PORTS)))
        workload = {
            "serviceAccountName": draw.pick(NAMES) if draw.sometimes() else name,
            "podSelector": {"matchLabels": {"app": draw.pick(APPS) if draw.sometimes() else name}},
            "ports": [PORTS[port] for port in offered],
        }
        spec |= {"workload": workload, "accepts": accepts, "calls": calls}
        return manifest("ServiceIdentity", name, here, spec=spec)

    def _by(self, place: Place, *, consumes: bool = False) -> list[Manifest]:
        """Return an identity's references to policies, for producing or consuming."""
        mine = {
            use.policy: None
            for use in self.uses
            if use.identity == place and use.consumes is consumes and use.identity_says
        }
        return [{"policy": reference(each, place[0])} for each in mine]

    def _with_certificate(self, spec: Manifest, name: str) -> None:
        """Add fields that require a certificate."""
        draw = self.draw
        if draw.sometimes():
            spec["startsTransactions"] = {"scopes": draw.subset(SCOPES), "context": ["channel"]}
        if draw.sometimes():
            allowed = draw.pick(({"webhooks": "yes"}, {"domain": "red"}))
            spec["servesWebhooks"] = {"allowedNamespaces": {"matchLabels": allowed}}
        if draw.chance(self.restarted):
            kind = draw.pick(("Deployment", "Deployment", "StatefulSet", "DaemonSet"))
            spec["onRotation"] = {"restart": [{"kind": kind, "name": name}]}

    def _certificate(self) -> Manifest:
        draw = self.draw
        chosen: Manifest = {}
        if draw.sometimes():
            chosen["keyAlgorithm"] = draw.pick(("Ed25519", "ECDSA-P384", "RSA-2048"))
        if draw.sometimes():
            chosen["lifetime"] = draw.pick(("5m", "40m"))
        if draw.sometimes():
            chosen["keystores"] = ["PKCS12"]
        if draw.sometimes():
            chosen["dnsNames"] = [draw.pick(("api.shop.example", "api.elsewhere.example"))]
        return chosen

    def _accepts(self, place: Place) -> list[Manifest]:
        return [
            {
                "from": reference(wish.caller, place[0]),
                "ports": list(wish.ports),
                "scopes": self.draw.subset(SCOPES),
            }
            | ({"forwards": ["ClientCertificate"]} if self.draw.sometimes() else {})
            for wish in self.wishes
            if wish.accepted and wish.callee == place
        ]

    def _calls(self, place: Place) -> list[Manifest]:
        return [
            {
                "to": reference(wish.callee, place[0]),
                "ports": list(wish.ports),
                "scopes": self.draw.subset(SCOPES),
            }
            for wish in self.wishes
            if wish.called and wish.caller == place
        ]

    def _gateway_only(self, here: str, accepts: list[Manifest]) -> tuple[Manifest, list[Manifest]]:
        draw = self.draw
        gateway = accepts[0]["from"] if accepts else reference(self.place(), here)
        until = self.now + timedelta(days=draw.pick((1, 10, 89, 0, -1, 91)))
        trust = {
            "gateway": gateway,
            "reason": "the vendor's program speaks no TLS",
            "owner": "team payments",
            "expiresAt": stamp(until),
        }
        return {"gatewayOnly": trust}, [{**each, "from": gateway} for each in accepts]

    def _unverified(self) -> Manifest:
        draw = self.draw
        peer: Manifest = {"reason": "public traffic enters here"}
        if draw.half():
            peer["cidrs"] = draw.some(CIDRS, 0.3)
        else:
            peer["namespaceSelector"] = {"matchLabels": {"domain": draw.pick(DOMAINS)}}
            if draw.half():
                chosen = draw.some(APPS, 0.3)
                wanted = {"key": "app", "operator": draw.pick(("In", "NotIn")), "values": chosen}
                peer["podSelector"] = {"matchExpressions": [wanted]}
        return {"unverified": peer, "ports": draw.some(tuple(PORTS), 0.3)}
