"""A scheduler for a cluster of one node: it binds every unbound pod to that node."""

from sandbox.node.api import Api, Change, Manifest, insist, path_of


async def bind_all(api: Api, node: str) -> None:
    """Bind every pod that has no node, until cancelled."""
    async for change, pod in api.follow("/api/v1/pods", fields="spec.nodeName="):
        gated = pod["spec"].get("schedulingGates")
        if change is Change.SEEN and not gated and not pod["metadata"].get("deletionTimestamp"):
            await _bind(api, pod, node)


async def _bind(api: Api, pod: Manifest, node: str) -> None:
    metadata = pod["metadata"]
    binding = {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": metadata["name"], "uid": metadata["uid"]},
        "target": {"apiVersion": "v1", "kind": "Node", "name": node},
    }
    await insist(lambda: api.create(f"{path_of(pod, 'pods')}/binding", binding))
