"""Somebody edits a NetworkPolicy by hand, and how long that lasts."""

import json
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from sandbox.cluster import Sandbox
from sandbox.demo.cluster import Cluster
from sandbox.demo.errors import DemoError
from sandbox.demo.shop import Place
from sandbox.tools import ensure

SECONDS = 15.0
LETS_EVERYBODY_IN = [{"op": "add", "path": "/spec/ingress/-", "value": {}}]
"""One more rule, which names no peer and no port: everybody, everywhere."""


@dataclass(frozen=True, slots=True)
class Repair:
    """How long the edit stood, as a watcher saw it, and the Event that tells of it."""

    policy: Place
    milliseconds: float
    note: str


def tamper(cluster: Cluster, owner: Place) -> Repair:
    """Open an identity's NetworkPolicy to everybody; return once it is as it was.

    Raises `DemoError` if that, or the Event, does not come in time.
    """
    policy = Place(owner.namespace, f"{owner.name}-troth")
    milliseconds = _edit_and_watch(cluster.sandbox, policy)
    return Repair(policy, milliseconds, _event(cluster, owner))


def _edit_and_watch(sandbox: Sandbox, policy: Place) -> float:
    target = ("networkpolicy", policy.name, "-n", policy.namespace)
    watch: list[str | Path] = [
        *(ensure("kubectl"), "get", *target, "--watch", "-o", 'jsonpath={.spec}{"\\n"}'),
        *("--kubeconfig", sandbox.kubeconfig, "--cache-dir", sandbox.directory / "kubectl"),
        f"--request-timeout={SECONDS:.0f}s",  # it ends by itself, and its output with it
    ]
    with subprocess.Popen(watch, stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        try:
            before = watching.stdout.readline()
            sandbox.kubectl("patch", *target, "--type=json", "-p", json.dumps(LETS_EVERYBODY_IN))
            edited_at = 0.0
            for spec in watching.stdout:
                if spec != before:
                    edited_at = edited_at or time.perf_counter()
                elif edited_at:
                    return (time.perf_counter() - edited_at) * 1000
        finally:
            watching.kill()
    raise DemoError(f"the NetworkPolicy {policy} was edited and not repaired")


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
