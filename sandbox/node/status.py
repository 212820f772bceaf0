"""The status of a process pod, in the kubelet's format."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Manifest = Mapping[str, Any]

CREATING, BACKING_OFF, CANNOT_RUN = "ContainerCreating", "CrashLoopBackOff", "RunContainerError"
ALWAYS_TRUE = ("PodScheduled", "PodReadyToStartContainers", "Initialized")


@dataclass(slots=True)
class Container:
    """State of the one container of a process pod."""

    process: int | None = None
    ready: bool = False
    restarts: int = 0
    started: str = ""
    returncode: int | None = None
    waiting: str = CREATING

    def report(self, name: str, image: str) -> Manifest:
        """Return the container's entry in a pod's container statuses."""
        state: Manifest
        if self.process is not None:
            state = {"running": {"startedAt": self.started}}
        elif self.returncode is not None and not self.waiting:
            reason = "Error" if self.returncode else "Completed"
            state = {
                "terminated": {
                    "exitCode": self.returncode,
                    "reason": reason,
                    "startedAt": self.started,
                    "finishedAt": now(),
                }
            }
        else:
            state = {"waiting": {"reason": self.waiting}}
        return {
            "name": name,
            "image": image,
            "imageID": image,
            "containerID": f"process://{self.process}" if self.process is not None else "",
            "ready": self.ready,
            "started": self.process is not None,
            "restartCount": self.restarts,
            "state": state,
        }


def report(pod: Manifest, container: Container, *, address: str, host: str) -> Manifest:
    """Return the status of a pod."""
    spec = pod["spec"]["containers"][0]
    since = now()
    ready = {"ContainersReady": container.ready, "Ready": container.ready}
    conditions = dict.fromkeys(ALWAYS_TRUE, True) | ready
    return {
        "phase": _phase(container),
        "hostIP": host,
        "hostIPs": [{"ip": host}],
        "podIP": address,
        "podIPs": [{"ip": address}],
        "startTime": pod.get("status", {}).get("startTime") or since,
        "conditions": [
            {"type": kind, "status": str(holds), "lastTransitionTime": since}
            for kind, holds in conditions.items()
        ],
        "containerStatuses": [container.report(spec["name"], spec["image"])],
    }


def waiting(pod: Manifest, message: str) -> Manifest:
    """Return the status of a pod that cannot start yet."""
    spec = pod["spec"]["containers"][0]
    state = {"waiting": {"reason": CREATING, "message": message}}
    return {
        "phase": "Pending",
        "containerStatuses": [
            {
                "name": spec["name"],
                "image": spec["image"],
                "imageID": "",
                "ready": False,
                "started": False,
                "restartCount": 0,
                "state": state,
            }
        ],
    }


def now() -> str:
    """Return the current time in Kubernetes' format."""
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _phase(container: Container) -> str:
    if container.process is not None or container.restarts:
        return "Running"
    if container.waiting:
        return "Pending"
    return "Failed" if container.returncode else "Succeeded"
