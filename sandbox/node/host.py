"""The node's network: a namespace with the node's address, and links from pods to it.

Pods are routed, not bridged, and their neighbour entries are permanent. The kernel has one
neighbour table for the whole machine, limited to a thousand entries. Forty pods on a bridge that
all talk to each other would exceed the limit, and raising it would change the machine.
"""

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from sandbox.errors import SandboxError
from sandbox.node.namespaces import NetworkNamespace

SETTINGS: Mapping[str, int] = {
    "net/ipv4/ip_forward": 1,
    # ICMP reports rejected packets. With a rate limit, most rejections would look like timeouts.
    "net/ipv4/icmp_ratemask": 0,
    "net/ipv4/conf/all/rp_filter": 0,
    "net/ipv4/conf/all/send_redirects": 0,
    # Connection tracking drops closed connections after a second. Otherwise a few thousand probes a
    # second fill the table, and a reused UDP port is taken for the connection that had it before.
    "net/netfilter/nf_conntrack_tcp_timeout_time_wait": 1,
    "net/netfilter/nf_conntrack_tcp_timeout_close": 1,
    "net/netfilter/nf_conntrack_udp_timeout": 1,
    "net/netfilter/nf_conntrack_udp_timeout_stream": 1,
}
BRIDGED = "net/bridge/bridge-nf-call-iptables"  # exists only in some kernels

GATEWAY = "169.254.1.1"  # next hop of every pod; link-local, because only the link answers for it
ROUTER_MAC = "0a:58:a9:fe:01:01"


@dataclass(frozen=True, slots=True)
class Link:
    """A virtual link between one network namespace and the node."""

    network: NetworkNamespace
    address: str
    interface: str  # name of the node's end

    @property
    def mac(self) -> str:
        """MAC address of the far end, derived from its IP address."""
        octets = IPv4Address(self.address).packed
        return ":".join(["0a", "58", *(f"{octet:02x}" for octet in octets)])


class Host:
    """The node's own network namespace."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self.network = NetworkNamespace.create()
        ip(
            self.network,
            ["link set lo up", *(f"addr add {address}/32 dev lo" for address in addresses)],
        )
        with self.network.inside():
            for name, value in SETTINGS.items():
                Path("/proc/sys", name).write_text(str(value))
            bridged = Path("/proc/sys", BRIDGED)
            if bridged.exists():
                bridged.write_text("1")

    def connect(self, links: Sequence[Link]) -> None:
        """Give each namespace its address and its link to the node."""
        for link in links:
            ip(link.network, self._far_end(link))
        ip(self.network, [line for link in links for line in self._near_end(link)])

    def _far_end(self, link: Link) -> list[str]:
        near = f"{link.interface} address {ROUTER_MAC} netns {self.network.path}"
        return [
            "link set lo up",
            f"link add eth0 address {link.mac} type veth peer name {near}",
            f"addr add {link.address}/32 dev eth0",
            "link set eth0 up",
            f"neigh add {GATEWAY} lladdr {ROUTER_MAC} nud permanent dev eth0",
            f"route add {GATEWAY} dev eth0 scope link",
            f"route add default via {GATEWAY} dev eth0 src {link.address}",
        ]

    @staticmethod
    def _near_end(link: Link) -> list[str]:
        return [
            f"link set {link.interface} up",
            f"neigh add {link.address} lladdr {link.mac} nud permanent dev {link.interface}",
            f"route add {link.address} dev {link.interface} scope link",
        ]


def ip(network: NetworkNamespace, lines: Sequence[str]) -> None:
    """Run several `ip` commands in a namespace with one process."""
    with network.inside():
        done = subprocess.run(
            ["ip", "-batch", "-"],
            input="\n".join(lines) + "\n",
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise SandboxError(f"ip failed: {done.stderr.strip()}")
