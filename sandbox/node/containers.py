"""Configuration of containerd and the kubelet that leaves the machine's settings unchanged."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sandbox.components import NODE_ADDRESS, RESOLVER_ADDRESS
from sandbox.node.settings import PAUSE_IMAGE, POD_NETWORK, Settings

# On the node's own /run. The kubelet creates sockets in its directory, so that path is short too: a
# socket's path may have at most 107 characters.
SOCKET = "/run/containerd.sock"
KUBELET_ROOT = Path("/run/kubelet")
CNI_PLUGINS = "usr/lib/cni"

# The kubelet sets these for the whole machine unless they already have these values.
SYSCTLS: Mapping[str, int] = {
    "vm/overcommit_memory": 1,
    "vm/panic_on_oom": 0,
    "kernel/panic": 10,
    "kernel/panic_on_oops": 1,
    "kernel/keys/root_maxkeys": 1_000_000,
    "kernel/keys/root_maxbytes": 25_000_000,
}


def shield_the_machine(directory: Path) -> None:
    """Mount files over the settings that the kubelet would change, only in this mount namespace."""
    shields = directory / "sysctl"
    shields.mkdir()
    for name, value in SYSCTLS.items():
        shield = shields / name.replace("/", ".")
        shield.write_text(f"{value}\n")
        subprocess.run(["mount", "--bind", shield, Path("/proc/sys", name)], check=True)


def make_kubelet_root(directory: Path) -> None:
    """Mount a directory on the sandbox's disk as the kubelet's root directory."""
    kept = directory / "kubelet"
    for path in (kept, KUBELET_ROOT):
        path.mkdir()
    subprocess.run(["mount", "--bind", kept, KUBELET_ROOT], check=True)


def containerd(directory: Path, plugins: Path) -> str:
    """Return containerd's configuration; write the network configuration next to it."""
    networks = directory / "cni"
    networks.mkdir()
    (networks / "10-pods.conflist").write_text(json.dumps(_network(directory)))
    cri = "io.containerd.grpc.v1.cri"
    return f"""version = 2
root = "{directory}/containerd"
state = "/run/containerd"

[grpc]
address = "{SOCKET}"

[plugins."{cri}"]
sandbox_image = "{PAUSE_IMAGE}"
disable_apparmor = true
# Where root lacks CAP_SYS_RESOURCE, runc could not give pods a better score than its own.
restrict_oom_score_adj = true

[plugins."{cri}".cni]
bin_dir = "{plugins}"
conf_dir = "{networks}"

[plugins."{cri}".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."{cri}".containerd.runtimes.runc.options]
SystemdCgroup = false
"""


def kubelet(directory: Path, settings: Settings) -> Mapping[str, Any]:
    """Return the kubelet's configuration."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": NODE_ADDRESS,
        "healthzPort": 0,
        "containerRuntimeEndpoint": f"unix://{SOCKET}",
        "podLogsDir": str(directory / "pod-logs"),
        "volumePluginDir": str(directory / "volume-plugins"),
        "resolvConf": "",
        "clusterDNS": [RESOLVER_ADDRESS],
        "clusterDomain": "cluster.local",
        # Only the API server has a client certificate of this authority that it uses here.
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": False},
            "x509": {"clientCAFile": settings.client_authority},
        },
        "authorization": {"mode": "AlwaysAllow"},
        "tlsCertFile": settings.kubelet_certificate,
        "tlsPrivateKeyFile": settings.kubelet_key,
        # All control groups are below one, which is removed at the end.
        "failCgroupV1": False,
        "cgroupDriver": "cgroupfs",
        "cgroupsPerQOS": True,
        "cgroupRoot": f"/{settings.control_group}",
        "enforceNodeAllocatable": [],
        "localStorageCapacityIsolation": False,
        "oomScoreAdj": 0,
        "failSwapOn": False,
        # Disk and memory belong to the user, so pressure on them evicts no pod.
        "evictionHard": {
            "memory.available": "1Mi",
            "nodefs.available": "0%",
            "imagefs.available": "0%",
        },
        "imageGCHighThresholdPercent": 100,
        "maxPods": 250,
        "syncFrequency": "1s",  # maximum delay until a pod sees a changed Secret
        "registryPullQPS": 0,
        "eventRecordQPS": 0,
        "kubeAPIQPS": 200,
        "kubeAPIBurst": 400,
    }


def _network(directory: Path) -> Mapping[str, Any]:
    # Routed, not bridged; `host` explains why.
    ipam = {
        "type": "host-local",
        "dataDir": str(directory / "cni" / "addresses"),
        "ranges": [[{"subnet": POD_NETWORK}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    return {
        "cniVersion": "1.0.0",
        "name": "pods",
        "plugins": [{"type": "ptp", "ipam": ipam}],
    }
