"""The Node object of process pods; a real kubelet creates its own."""

from sandbox.node import status
from sandbox.node.api import CONFLICT, Api, ApiError

CAPACITY = {"cpu": "64", "memory": "64Gi", "pods": "1000"}


async def register(api: Api, name: str, address: str) -> None:
    """Create a Node that is ready."""
    try:
        await api.create(
            "/api/v1/nodes",
            {
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": {
                    "name": name,
                    "labels": {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"},
                },
            },
        )
    except ApiError as error:
        if error.status != CONFLICT:
            raise
    ready = {"type": "Ready", "status": "True", "reason": "ProcessPods"}
    ready |= {"message": "pods are processes", "lastTransitionTime": status.now()}
    await api.merge(
        f"/api/v1/nodes/{name}/status",
        {
            "status": {
                "addresses": [
                    {"type": "InternalIP", "address": address},
                    {"type": "Hostname", "address": name},
                ],
                "capacity": CAPACITY,
                "allocatable": CAPACITY,
                "conditions": [ready],
            }
        },
    )
    await untaint(api, name)


async def untaint(api: Api, name: str) -> None:
    """Remove the not-ready taint of a node; its controller does not run here."""
    await api.merge(f"/api/v1/nodes/{name}", {"spec": {"taints": None}})
