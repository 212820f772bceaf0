"""Random webhooks: gateways, endpoints and their targets."""

from datetime import timedelta

from tests.net.clusters.identities import Identities
from tests.net.clusters.universe import (
    CIDRS,
    HOOKS,
    ISSUED,
    NAMES,
    PEM,
    PORTS,
    SCHEMES,
    Place,
    manifest,
    stamp,
)
from tests.net.stage import Manifest


class Webhooks(Identities):
    """Draws gateways, endpoints and targets."""

    def gateway(self, name: str = HOOKS) -> Manifest:
        draw = self.draw
        made = manifest("ServiceIdentity", name, HOOKS, spec={})
        made["spec"] = {
            "workload": {
                "serviceAccountName": name,
                "podSelector": {"matchLabels": {"app": name}},
                "ports": [PORTS["web"]],
            },
            "authentication": draw.pick(({"mtls": {}}, {"mtls": {}}, {"token": {}})),
        }
        if draw.often():
            served = {"matchLabels": {"webhooks": "yes"}}
            made["spec"]["servesWebhooks"] = {"allowedNamespaces": served}
        return made

    def target(self, place: Place) -> Manifest:
        """Return an identity that usually accepts the gateway."""
        made = self.identity(place)
        ports = made["spec"]["workload"]["ports"]
        if PORTS["hook"] not in ports:
            ports.append(PORTS["hook"])
        if "gatewayOnly" not in made["spec"]["authentication"] and self.draw.often():
            accepted = {"name": HOOKS, "namespace": HOOKS}
            made["spec"]["accepts"].append({"from": accepted, "ports": ["hook"]})
        return made

    def endpoint(self, place: Place, target: str) -> Manifest:
        draw, (here, name) = self.draw, place
        if draw.chance(0.08):
            outbound = {
                "url": "https://partner.example/hooks",
                "sender": {"identity": {"name": "a"}},
            }
            return manifest("WebhookEndpoint", name, here, spec={"outbound": outbound})
        scheme = draw.pick(SCHEMES)
        inbound: Manifest = {
            "scheme": scheme,
            "publicURL": f"https://hooks.example/{here}/{name}",
            "gateway": {"name": HOOKS if draw.often() else "a", "namespace": HOOKS},
            "target": {
                "identity": {"name": target if draw.often() else draw.pick(NAMES)},
                "port": "hook" if draw.often() else "web",
                "path": "/events",
                "workflow": draw.pick(("work", "other")),
            },
        }
        inbound |= self._of_scheme(scheme)
        if scheme in ISSUED or draw.sometimes():
            inbound["secretRef"] = {"name": draw.pick(("signing", "signing", "others"))}
        if draw.chance(0.3):
            inbound |= {"tolerance": "60s", "replayWindow": "1h"}
        if draw.chance(0.3):
            inbound["source"] = {"cidrs": draw.some(CIDRS, 0.3)}
        if draw.sometimes():
            certificate = {"sans": ["DNS:client.example"], "caBundle": PEM}
            inbound["source"] = {"clientCertificate": certificate}
        if draw.chance(0.3):
            inbound["limits"] = {"body": "1Mi", "requestsPerSecond": 7}
        return manifest("WebhookEndpoint", name, here, spec={"inbound": inbound})

    def _of_scheme(self, scheme: str) -> Manifest:
        match scheme:
            case "HMAC":
                return {"hmac": {"header": "X-Signature", "signed": "{body}", "digest": "SHA512"}}
            case "SNS":
                return {"sns": {"topicARNs": ["arn:aws:sns:eu-central-1:123456789012:orders"]}}
            case "HTTPSignatures":
                return (
                    {"httpSignatures": {"components": ["@authority"]}} if self.draw.half() else {}
                )
            case "GitLabToken":
                until = self.now + timedelta(days=self.draw.pick((1, 10, 80, -1, 91)))
                why = {"owner": "team", "reason": "their server is of last year"}
                return {"acceptUnsigned": {**why, "expiresAt": stamp(until)}}
        return {}

    def service(self, namespace: str, app: str) -> Manifest:
        draw = self.draw
        ports = [{"name": "hook", "port": 443, "targetPort": draw.pick((9443, "hook", 8080))}]
        spec: Manifest = {"selector": {"app": app}, "ports": ports if draw.often() else []}
        if draw.sometimes():
            spec["clusterIP"] = "None"
        return {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": draw.pick((app, "front")), "namespace": namespace},
            "spec": spec,
        }
