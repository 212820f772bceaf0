"""Random brokers, and policies that declare their share of the wished grants."""

from tests.net.clusters.universe import (
    ACCOUNT,
    DEAD,
    OPERATOR,
    SCHEMAS,
    TOPICS,
    Place,
    Universe,
    manifest,
    reference,
)
from tests.net.stage import Manifest


class Messages(Universe):
    """Draws brokers and policies."""

    def broker(self, name: str) -> Manifest:
        draw = self.draw
        admin: Manifest = {"adminSecretRef": {"name": "main" if draw.sometimes() else name}}
        servers = [f"{name}:1"] if draw.chance(0.8) else draw.pick((["b:1", "main:1"], ["b:1"]))
        secured: Manifest = admin | {"tls": {}}
        if draw.sometimes():
            secured["clients"] = "MTLS"
        described: Manifest = draw.pick(
            (
                *({"kafka": {"bootstrapServers": servers} | secured} for _ in range(30)),
                *(
                    {
                        "nats": {"servers": servers, "account": ACCOUNT, "operator": OPERATOR}
                        | secured
                    }
                    for _ in range(8)
                ),
                {"rabbitmq": {"servers": servers, "management": servers[0]} | admin},
                {"mqtt": {"servers": servers} | admin},
                {"valkey": {"servers": servers} | admin},
            )
        )
        spec: Manifest = {
            "environment": "stage" if draw.chance(0.3 if name == "other" else 0.02) else "prod",
            "allowedNamespaces": {
                "matchExpressions": [
                    {
                        "key": "domain",
                        "operator": "In",
                        "values": draw.pick((["red", "blue", "none"], ["red", "blue"], ["red"])),
                    }
                ]
            },
            "owns": {
                "topicPrefixes": draw.pick((*[["prod."]] * 12, ["prod.", "stage."], ["prod.p"])),
                "principalPrefix": draw.pick((f"{name}-", f"{name}-", "t-")),
                "groupPrefixes": ["of-", "g"],
                "sharedGroups": ["g"],
                "streams": ["S"],
            },
            "retention": "Allow",
            **described,
        }
        if draw.chance(0.7):
            selector = {"matchLabels": {"app": draw.pick(("broker", "broker", "a"))}}
            ports = [{"name": "clients", "port": draw.pick((9092, 9093))}]
            spec["workload"] = {"podSelector": selector, "ports": ports}
        if draw.chance(0.15):
            spec["mode"] = draw.pick(("Plan", "Observe"))
        if draw.half():
            spec["brake"] = {"maxRemovals": draw.pick((0, 0, 1))}
        made = manifest("MessageBroker", name, "east", spec=spec)
        if draw.chance(0.1):
            made["metadata"]["annotations"] = {"troth.dev/allow-removals": "10"}
        return made

    def policy(self, place: Place) -> Manifest:
        draw, (here, name) = self.draw, place
        mine = [use for use in self.uses if use.policy == place and use.policy_says]
        topic = dict(draw.pick(TOPICS))
        spec: Manifest = {
            "brokerRef": {"name": "other" if draw.chance(0.15) else "main", "namespace": "east"},
            "topic": topic,
            "environment": "prod" if draw.often() else "stage",
            "producers": [
                {"identity": reference(use.identity, here)} for use in mine if not use.consumes
            ],
            "consumers": [
                {"identity": reference(use.identity, here)}
                | ({"group": use.group} if use.group else {})
                for use in mine
                if use.consumes
            ],
        }
        dead = draw.pick(DEAD)
        if draw.half() and not dead.startswith(topic.get("prefix", "none")):
            spec["deadLetter"] = {"topic": dead, "review": draw.pick(("Required", "Optional"))}
        if draw.sometimes():
            topic["stream"] = "S"
        if draw.chance(0.4):
            spec["schema"] = draw.pick(SCHEMAS)
        if draw.chance(0.3):
            spec["context"] = {"require": draw.some(("Actor", "Subject", "Tenant", "RequestID"))}
        if draw.chance(0.3):
            spec["onDelete"] = "Retain"
        return manifest("TopicPolicy", name, here, spec=spec)

    def schemas(self, namespace: str) -> Manifest:
        texts = (*['{"type": "object"}'] * 4, "{", '{"type": 7}', f'"{"x" * 300_000}"')
        labels = {"troth.dev/schema": "true"} if self.draw.often() else {}
        return {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "schemas", "namespace": namespace, "labels": labels},
            "data": {"orders.json": self.draw.pick(texts)},
        }
