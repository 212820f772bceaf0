"""Random rotations, and workloads that are restarted for them."""

from datetime import timedelta

from tests.net.clusters.universe import (
    Place,
    Universe,
    manifest,
    stamp,
)
from tests.net.stage import OWN, Manifest


class Workloads(Universe):
    """Draws rotations and workloads."""

    def rotation(self, kind: str, place: Place) -> Manifest:
        draw, (namespace, name) = self.draw, place
        spec: Manifest = {"target": {"kind": kind, "name": name}}
        if draw.chance(0.6):
            moment = self.now + draw.pick((-1, 0, 0, 1)) * timedelta(hours=1)
            spec["requestedAt"] = stamp(moment)
        if draw.half():
            spec["every"] = draw.pick(("5m", "20m", "6h", "720h"))
            if draw.chance(0.4):
                window = {"cron": draw.pick(("0 9 * * 2,3", "0 13 * * *", "0 0 30 2 *"))}
                window |= {"duration": "4h", "timeZone": draw.pick(("Europe/Berlin", "UTC"))}
                spec["windows"] = [window]
        if draw.chance(0.4):
            spec["overlap"] = draw.pick(("2m", "12h", "0s", "900h"))
        here = OWN if kind == "TrustDomain" and draw.often() else namespace or "north"
        return manifest("CredentialRotation", f"{name}-{kind.lower()}", here, spec=spec)

    def workload(self, namespace: str, name: str, kind: str = "Deployment") -> Manifest:
        draw = self.draw
        there = 2
        updated, available = draw.pick((*[(2, 2)] * 6, (1, 2), (2, 1)))
        names = {
            "DaemonSet": (
                *("desiredNumberScheduled", "currentNumberScheduled"),
                *("updatedNumberScheduled", "numberAvailable"),
            )
        }.get(kind, ("replicas", "replicas", "updatedReplicas", "availableReplicas"))
        counts = dict(zip(names, (there, there, updated, available), strict=True))
        spec: Manifest = {
            "template": {
                "metadata": {"labels": {"app": name if draw.often() else "other"}},
                "spec": {"containers": []},
            }
        }
        if kind != "DaemonSet":
            spec["replicas"] = there
        if draw.chance(0.1) and kind == "Deployment":
            spec["paused"] = True
        made = self.now - timedelta(days=draw.pick((300, 0)))
        return {
            "apiVersion": "apps/v1",
            "kind": kind,
            "metadata": {"name": name, "namespace": namespace, "creationTimestamp": stamp(made)},
            "spec": spec,
            "status": {"observedGeneration": draw.pick((*[99] * 6, 0)), **counts},
        }

    def budget(self, namespace: str, app: str) -> Manifest:
        draw = self.draw
        return {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": {"name": app, "namespace": namespace},
            "spec": {"minAvailable": 2, "selector": {"matchLabels": {"app": app}}},
            "status": {"observedGeneration": 1, "disruptionsAllowed": draw.pick((0, 0, 1))},
        }
