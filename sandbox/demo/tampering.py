"""Somebody edits a NetworkPolicy by hand, and how long that lasts."""

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path

from sandbox.demo.cluster import Cluster
from sandbox.demo.errors import DemoError
from sandbox.demo.shop import Place
from sandbox.node.api import Api

SECONDS = 15.0
LETS_EVERYBODY_IN: dict[str, object] = {}
"""A rule that names no peer and no port: everybody, everywhere."""


@dataclass(frozen=True, slots=True)
class Repair:
    """How long after the edit a watcher saw it put right, and the Event that tells of it."""

    policy: Place
    milliseconds: float
    note: str


def tamper(cluster: Cluster, owner: Place) -> Repair:
    """Open an identity's NetworkPolicy to everybody; return once it is as it was.

    Raises `DemoError` if that, or the Event, does not come in time.
    """
    policy = Place(owner.namespace, f"{owner.name}-troth")
    milliseconds = asyncio.run(_edit_and_watch(cluster.sandbox.kubeconfig, policy))
    return Repair(policy, milliseconds, _event(cluster, owner))


async def _edit_and_watch(kubeconfig: Path, policy: Place) -> float:
    path = f"/apis/networking.k8s.io/v1/namespaces/{policy.namespace}/networkpolicies"
    api = Api.of(kubeconfig)
    try:
        async with asyncio.timeout(SECONDS):
            changes = api.follow(path, fields=f"metadata.name={policy.name}")
            before = (await anext(changes))[1]["spec"]
            ingress = [*before.get("ingress", []), LETS_EVERYBODY_IN]
            began = time.perf_counter()
            await api.merge(f"{path}/{policy.name}", {"spec": {"ingress": ingress}})
            edited = False
            async for _, manifest in changes:
                if edited and manifest["spec"] == before:
                    break
                edited = edited or manifest["spec"] != before
            return (time.perf_counter() - began) * 1000
    except TimeoutError as error:
        raise DemoError(f"the NetworkPolicy {policy} was edited and not repaired") from error
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
    raise DemoError(f"no Event tells of the repair of {owner}")
