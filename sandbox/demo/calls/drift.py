"""A NetworkPolicy is edited by hand, and Troth restores it."""

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path

from sandbox.demo.cluster import Cluster
from sandbox.demo.errors import DemoError
from sandbox.demo.shop import Place
from sandbox.node.api import Api

SECONDS = 15.0
OPEN_TO_ALL: dict[str, object] = {}
"""A rule without peers and ports, which allows all."""


@dataclass(frozen=True, slots=True)
class Restoration:
    """How long after the edit a watch showed the policy restored, and the Event's message."""

    policy: Place
    milliseconds: float
    message: str


def edit_by_hand(cluster: Cluster, owner: Place) -> Restoration:
    """Open an identity's NetworkPolicy to all; return when it is restored.

    Raises `DemoError` if that or the Event takes too long.
    """
    policy = Place(owner.namespace, f"{owner.name}-troth")
    milliseconds = asyncio.run(_edit_and_watch(cluster.sandbox.kubeconfig, policy))
    return Restoration(policy, milliseconds, _event(cluster, owner))


async def _edit_and_watch(kubeconfig: Path, policy: Place) -> float:
    path = f"/apis/networking.k8s.io/v1/namespaces/{policy.namespace}/networkpolicies"
    api = Api.of(kubeconfig)
    try:
        async with asyncio.timeout(SECONDS):
            changes = api.follow(path, fields=f"metadata.name={policy.name}")
            before = (await anext(changes))[1]["spec"]
            ingress = [*before.get("ingress", []), OPEN_TO_ALL]
            began = time.perf_counter()
            await api.merge(f"{path}/{policy.name}", {"spec": {"ingress": ingress}})
            edited = False
            async for _, manifest in changes:
                if edited and manifest["spec"] == before:
                    break
                edited = edited or manifest["spec"] != before
            return (time.perf_counter() - began) * 1000
    except TimeoutError as error:
        raise DemoError(f"the NetworkPolicy {policy} was edited and not restored") from error
    finally:
        await api.close()


def _event(cluster: Cluster, owner: Place) -> str:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        for event in cluster.items(
            *("events", "-n", owner.namespace, "--field-selector"),
            f"reason=Repaired,involvedObject.kind=ServiceIdentity,involvedObject.name={owner.name}",
        ):
            return str(event["message"])
        time.sleep(0.1)
    raise DemoError(f"no Event reports that the policy of {owner} was restored")
