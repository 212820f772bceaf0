"""Other routes to the API server than the stage's own."""

from pathlib import Path

import yaml

from sandbox.components import LOOPBACK
from sandbox.faults import Relay
from sandbox.kubeconfig import write_kubeconfig
from tests.cluster.stage import Stage


def kubeconfig_to(stage: Stage, server: str) -> Path:
    """Write the operator's kubeconfig for another URL of the API server."""
    config = yaml.safe_load(stage.kubeconfig.read_text())
    return write_kubeconfig(
        stage.kubeconfig.with_suffix(".elsewhere"),
        cluster={**config["clusters"][0]["cluster"], "server": server},
        user=config["users"][0]["user"],
        namespace=stage.own,
    )


def kubeconfig_through(stage: Stage, relay: Relay) -> Path:
    """Write the operator's kubeconfig for a relay to the API server."""
    return kubeconfig_to(stage, f"https://{LOOPBACK}:{relay.here}")
