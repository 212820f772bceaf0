"""The three programs of the control plane and their flags.

All three run in the sandbox's directory and use relative names for etcd's sockets, because a
socket's path is limited to about a hundred characters. Other files have absolute names, so that the
list of processes shows the sandbox of each process.
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

# The address in the EndpointSlice of the Service `kubernetes`. The API server listens on loopback,
# but it rejects a loopback address in that slice, and without an address it writes no slice. A
# documentation address (RFC 5737) collides with no host and is the same on every machine.
ADVERTISED = "192.0.2.1"

# Files in the sandbox's directory. etcd requires a port; here it is part of the file name.
ETCD_SOCKET = "unix://etcd.sock:1"
ETCD_PEER_SOCKET = "unix://etcd.sock:2"

# The node has a network of its own, without a route from the machine. The API server reaches its
# kubelet, and webhooks in its pods, through a socket in the sandbox's directory.
NODE = "sandbox-node"
NODE_ADDRESS = "10.77.0.1"
EGRESS_SOCKET = "egress.sock"
EGRESS_CONFIGURATION = "egress.json"

# Controllers for nodes, clouds and volumes, which the sandbox does not have.
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
    """Files for mutual authentication between the API server and a node's kubelet."""

    api_server: KeyPair
    kubelet: KeyPair
    kubelet_server: KeyPair

    @classmethod
    def issue(cls, authority: Authority) -> "NodeCredentials":
        """Issue all credentials of a node."""
        return cls(
            api_server=authority.client("kube-apiserver-kubelet-client", user="kube-apiserver"),
            kubelet=authority.client("kubelet", user=f"system:node:{NODE}", group="system:nodes"),
            kubelet_server=authority.server(
                "kubelet-server", addresses=[NODE_ADDRESS], dns_names=[NODE]
            ),
        )


@dataclass(frozen=True, slots=True)
class Credentials:
    """Files for mutual authentication between the components and the administrator."""

    authority: Path
    server: KeyPair
    administrator: KeyPair
    controller_manager: KeyPair
    service_account_key: Path
    issuer: Authority
    node: NodeCredentials | None = None

    @classmethod
    def issue(cls, directory: Path, *, node: bool = False) -> "Credentials":
        """Issue all credentials into `directory`; with `node`, those of a node too."""
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
            issuer=authority,
            node=NodeCredentials.issue(authority) if node else None,
        )


def etcd(data: Path, *, quota: int = 0) -> Sequence[str]:
    """Return etcd's flags. `quota` is the most bytes of its database, 0 for etcd's default.

    etcd listens on sockets in a directory that only the owner can access. So no other user can
    write to etcd directly, and no port can collide.
    """
    return [
        f"--data-dir={data}",
        f"--listen-client-urls={ETCD_SOCKET}",
        f"--advertise-client-urls={ETCD_SOCKET}",
        f"--listen-peer-urls={ETCD_PEER_SOCKET}",
        f"--initial-advertise-peer-urls={ETCD_PEER_SOCKET}",
        f"--initial-cluster=default={ETCD_PEER_SOCKET}",
        f"--quota-backend-bytes={quota}",
        "--unsafe-no-fsync",  # the data is deleted with the sandbox
        "--log-level=warn",
    ]


def api_server(
    port: int, credentials: Credentials, *, etcd_socket: str = ETCD_SOCKET
) -> Sequence[str]:
    """Return the API server's flags."""
    return [
        f"--etcd-servers={etcd_socket}",
        f"--bind-address={LOOPBACK}",
        f"--secure-port={port}",
        f"--advertise-address={ADVERTISED}",
        f"--tls-cert-file={credentials.server.certificate}",
        f"--tls-private-key-file={credentials.server.key}",
        f"--client-ca-file={credentials.authority}",
        "--anonymous-auth=false",
        "--authorization-mode=Node,RBAC",
        # Stricter clusters (OpenShift) enable the second plugin: a client that sets an owner
        # reference that blocks deletion must be allowed to set the owner's finalizers.
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
        # The API server calls webhooks at their pods: Service addresses are not routed here.
        "--enable-aggregator-routing=true",
    ]


def egress_configuration() -> str:
    """Return the configuration by which the API server reaches the node's network."""
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
        "--secure-port=0",  # no component calls it
        # With the defaults (20, 30), tests that create and delete many namespaces wait.
        "--kube-api-qps=300",
        "--kube-api-burst=600",
        "--profiling=false",
    ]
