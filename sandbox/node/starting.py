"""Starts a node for a control plane."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sandbox import tools
from sandbox.components import ADVERTISED
from sandbox.control_plane import ControlPlane
from sandbox.errors import ComponentError, SandboxError
from sandbox.kubeconfig import by_certificate, verified, write_kubeconfig
from sandbox.node import cgroups
from sandbox.node.node import Node
from sandbox.node.parts import unpacked
from sandbox.node.settings import Settings
from sandbox.node.tiers import Tier, unavailable
from sandbox.processes import Tether, tail

READY_SECONDS = 120.0
REPOSITORY = Path(__file__).parent.parent.parent
NAMESPACES = ("--mount", "--pid", "--fork", "--kill-child", "--mount-proc")


def prepare(tier: Tier) -> None:
    """Build and fetch what a tier needs and the cache lacks.

    Raises `SandboxError` with the reason if this machine does not support the tier.
    """
    if reason := unavailable(tier):
        raise SandboxError(reason)
    for packages in tier.packages:
        unpacked(packages)
    for program in tier.programs:
        tools.ensure(program)


@contextmanager
def cleared(directory: Path, tier: Tier) -> Iterator[str]:
    """Remove what the kernel leaves of a node, after all its processes have ended.

    Yields the name of the node's control group. Enter the context before the first process starts
    and leave it after the last has ended. If this process is killed meanwhile, the removal happens
    all the same.
    """
    if not tier.has_node:
        yield ""
        return
    cgroups.sweep()
    name = cgroups.create() if tier is Tier.NODE else ""
    with cgroups.reaped(directory, name):
        yield name


def start(
    tether: Tether, directory: Path, control_plane: ControlPlane, tier: Tier, control_group: str
) -> Node:
    """Start a node in namespaces of its own; return it when it runs pods.

    Raises `ComponentError` with the end of its log if it does not start.
    """
    settings = _settings(directory, control_plane, tier, control_group)
    log = directory / "node.log"
    tether.start(
        "node",
        [
            "unshare",
            *NAMESPACES,
            *(sys.executable, "-m", "sandbox.node.supervisor"),
            settings.write(directory / "node.json"),
        ],
        log=log,
        cwd=directory,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1"},
    )
    node = Node(directory)
    deadline = time.monotonic() + READY_SECONDS
    while True:
        with suppress(SandboxError):
            node.caught_up()
            return node
        returncode = tether.poll("node")
        if returncode is not None:
            raise ComponentError("node", f"ended with {returncode} while starting", tail(log))
        if time.monotonic() > deadline:
            raise ComponentError("node", f"was not ready after {READY_SECONDS:.0f} s", tail(log))
        time.sleep(0.02)


def _settings(
    directory: Path, control_plane: ControlPlane, tier: Tier, control_group: str
) -> Settings:
    credentials = control_plane.credentials
    assert credentials.node, "the control plane was made for a node"
    server = f"https://{ADVERTISED}:{control_plane.port}"
    inside = verified(server, credentials.authority.read_bytes())
    return Settings(
        tier=tier,
        directory=str(directory),
        api_server_port=control_plane.port,
        kubeconfig=str(control_plane.kubeconfig),
        inside_kubeconfig=str(
            write_kubeconfig(
                directory / "kube-router.kubeconfig",
                cluster=inside,
                user=by_certificate(credentials.administrator),
            )
        ),
        kubelet_kubeconfig=str(
            write_kubeconfig(
                directory / "kubelet.kubeconfig",
                cluster=inside,
                user=by_certificate(credentials.node.kubelet),
            )
        ),
        client_authority=str(credentials.authority),
        kubelet_certificate=str(credentials.node.kubelet_server.certificate),
        kubelet_key=str(credentials.node.kubelet_server.key),
        control_group=control_group,
        programs={name: str(tools.ensure(name)) for name in tier.programs},
        packages=[str(unpacked(packages)) for packages in tier.packages],
    )
