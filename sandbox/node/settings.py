"""Settings that the process outside passes to the process inside, and names that both use."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from sandbox.node.tiers import Tier

POD_NETWORK = "10.78.0.0/16"
CONTROL_SOCKET = "node.sock"  # in the sandbox's directory

WORKLOAD_IMAGE = "sandbox.troth.dev/workload:local"
PAUSE_IMAGE = "sandbox.troth.dev/pause:local"


@dataclass(frozen=True, slots=True)
class Settings:
    """Paths, programs and credentials of a node.

    `kubeconfig` is for the outside of the node's network, `inside_kubeconfig` for programs inside,
    and `kubelet_kubeconfig` for the kubelet. `packages` are the roots of unpacked packages.
    """

    tier: Tier
    directory: str
    api_server_port: int
    kubeconfig: str
    inside_kubeconfig: str
    kubelet_kubeconfig: str
    client_authority: str
    kubelet_certificate: str
    kubelet_key: str
    control_group: str
    programs: Mapping[str, str]
    packages: Sequence[str]

    def write(self, path: Path) -> Path:
        """Write the settings for the process inside; return the path."""
        path.write_text(json.dumps(asdict(self)))
        return path

    @classmethod
    def read(cls, path: Path) -> Self:
        """Return the settings that `write` wrote."""
        content: dict[str, Any] = json.loads(path.read_text())
        return cls(**{**content, "tier": Tier(content["tier"])})
