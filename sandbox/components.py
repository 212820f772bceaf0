"""The three programs of the control plane and the flags they are started with.

All of them run in the sandbox's directory, where etcd's sockets are, by relative names: a socket's
path may have no more than about a hundred characters. Other files are named in full, so that the
list of processes shows which sandbox each belongs to.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sandbox.certificates import Authority, KeyPair, service_account_key, write_private_key

LOOPBACK = "127.0.0.1"
SERVICE_RANGE = "10.96.0.0/16"
FIRST_SERVICE_ADDRESS = "10.96.0.1"  # the Service `kubernetes`
RESOLVER_ADDRESS = "10.96.0.10"  # reserved for the Service `kube-dns`

# What the EndpointSlice of the Service `kubernetes` says. The API server refuses to write a
# loopback address there, and without one it writes no slice at all. It listens on loopback
# nevertheless; an address meant for documentation (RFC 5737) reaches nobody by accident and
# makes every machine's sandbox the same.
ADVERTISED = "192.0.2.1"

# Files in the sandbox's directory. etcd insists on a port, which here is a part of the name.
ETCD_SOCKET = "unix://etcd.sock:1"
ETCD_PEER_SOCKET = "unix://etcd.sock:2"

# The node, where there is one, is in a network of its own, and no route leads there. The API server
# reaches its kubelet, and webhooks in its pods, through a socket in the sandbox's directory.
NODE = "sandbox-node"
NODE_ADDRESS = "10.77.0.1"
EGRESS_SOCKET = "egress.sock"
EGRESS_CONFIGURATION = "egress.json"

# Controllers that only wait here for nodes, clouds and volumes that never come.
IDLE_CONTROLLERS = (
    "cloud-node-lifecycle-controller",
    "node-ipam-controller",
    "node-lifecycle-controller",
    "node-route-controller",
    "persistentvolume-attach-detach-controller",
    "persistentvolume-expander-controller",
    "service-lb-controller",
    "taint-eviction-controller",
)


@dataclass(frozen=True, slots=True)
class NodeCredentials:
    """The files by which the API server and a node's kubelet know each other."""

    api_server: KeyPair
    kubelet: KeyPair
    kubelet_server: KeyPair

    @classmethod
    def issue(cls, authority: Authority) -> "NodeCredentials":
        """Generate all of them."""
        return cls(
            api_server=authority.client("kube-apiserver-kubelet-client", user="kube-apiserver"),
            kubelet=authority.client("kubelet", user=f"system:node:{NODE}", group="system:nodes"),
            kubelet_server=authority.server(
                "kubelet-server", addresses=[NODE_ADDRESS], dns_names=[NODE]
            ),
        )


@dataclass(frozen=True, slots=True)
class Credentials:
    """The files by which the components and the administrator know each other."""

    authority: Path
    server: KeyPair
    administrator: KeyPair
    controller_manager: KeyPair
    service_account_key: Path
    node: NodeCredentials | None = None

    @classmethod
    def issue(cls, directory: Path, *, node: bool = False) -> "Credentials":
        """Generate all of them into `directory`, with those of a node if there is to be one."""
        authority = Authority(directory)
        key = directory / "service-account.key"
        write_private_key(key, service_account_key())
        return cls(
            authority=authority.certificate,
            server=authority.server(
                "kube-apiserver",
                addresses=[LOOPBACK, ADVERTISED, FIRST_SERVICE_ADDRESS],
                dns_names=[
                    "localhost",
                    "kubernetes",
                    "kubernetes.default",
                    "kubernetes.default.svc",
                    "kubernetes.default.svc.cluster.local",
                ],
            ),
            administrator=authority.client(
                "administrator", user="troth-sandbox-administrator", group="system:masters"
            ),
            controller_manager=authority.client(
                "kube-controller-manager", user="system:kube-controller-manager"
            ),
            service_account_key=key,
            node=NodeCredentials.issue(authority) if node else None,
        )


def etcd(data: Path) -> Sequence[str]:
    """Return etcd's flags.

    It listens on sockets in a directory that is the owner's alone, so nobody else on the machine
    can write past the API server, and there is no port to collide on.
    """
    return [
        f"--data-dir={data}",
        f"--listen-client-urls={ETCD_SOCKET}",
        f"--advertise-client-urls={ETCD_SOCKET}",
        f"--listen-peer-urls={ETCD_PEER_SOCKET}",
        f"--initial-advertise-peer-urls={ETCD_PEER_SOCKET}",
        f"--initial-cluster=default={ETCD_PEER_SOCKET}",
        "--unsafe-no-fsync",  # the data ends with the sandbox
        "--log-level=warn",
    ]


def api_server(port: int, credentials: Credentials) -> Sequence[str]:
    """Return the API server's flags."""
    return [
        f"--etcd-servers={ETCD_SOCKET}",
        f"--bind-address={LOOPBACK}",
        f"--secure-port={port}",
        f"--advertise-address={ADVERTISED}",
        f"--tls-cert-file={credentials.server.certificate}",
        f"--tls-private-key-file={credentials.server.key}",
        f"--client-ca-file={credentials.authority}",
        "--anonymous-auth=false",
        "--authorization-mode=Node,RBAC",
        # The second is what stricter clusters (OpenShift) have on: who sets an owner reference
        # that blocks deletion must be allowed to set the owner's finalizers.
        "--enable-admission-plugins=NodeRestriction,OwnerReferencesPermissionEnforcement",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-signing-key-file={credentials.service_account_key}",
        f"--service-account-key-file={credentials.service_account_key}",
        f"--service-cluster-ip-range={SERVICE_RANGE}",
        "--profiling=false",
        *(_towards_the_node(credentials.authority, credentials.node) if credentials.node else ()),
    ]


def _towards_the_node(authority: Path, credentials: NodeCredentials) -> Sequence[str]:
    return [
        f"--egress-selector-config-file={EGRESS_CONFIGURATION}",
        f"--kubelet-certificate-authority={authority}",
        f"--kubelet-client-certificate={credentials.api_server.certificate}",
        f"--kubelet-client-key={credentials.api_server.key}",
        "--kubelet-preferred-address-types=InternalIP",
        # Webhooks are called at their pods, since no Service address leads anywhere here.
        "--enable-aggregator-routing=true",
    ]


def egress_configuration() -> str:
    """Return the file that tells the API server how to reach what is in the node's network."""
    connection = {
        "proxyProtocol": "HTTPConnect",
        "transport": {"uds": {"udsName": EGRESS_SOCKET}},
    }
    return json.dumps(
        {
            "apiVersion": "apiserver.k8s.io/v1beta1",
            "kind": "EgressSelectorConfiguration",
            "egressSelections": [{"name": "cluster", "connection": connection}],
        }
    )


def controller_manager(kubeconfig: Path, credentials: Credentials) -> Sequence[str]:
    """Return the controller manager's flags."""
    without = ",".join(f"-{name}" for name in IDLE_CONTROLLERS)
    return [
        f"--kubeconfig={kubeconfig}",
        f"--controllers=*,{without}",
        "--use-service-account-credentials",
        f"--root-ca-file={credentials.authority}",
        f"--service-account-private-key-file={credentials.service_account_key}",
        "--leader-elect=false",
        "--secure-port=0",  # nobody asks it anything
        # The defaults (20, 30) make a suite that creates and deletes namespaces wait.
        "--kube-api-qps=300",
        "--kube-api-burst=600",
        "--profiling=false",
    ]
