"""Reads the kernel's table of tracked connections, as `/proc/net/nf_conntrack` shows it.

The kernel writes one line for each connection (net/netfilter/nf_conntrack_standalone.c): protocols,
timeout, state, then the addresses and ports of both directions. The second direction is that of
replies, so its source is the destination after address translation.
"""

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address
from typing import NamedTuple

LONGEST_LINE = 1024
"""Longest line in characters; the kernel's are about 250 long."""

_TUPLE = (
    r"src=(?P<{0}>[0-9a-f.:]+) dst=[0-9a-f.:]+ sport=(?P<{0}_port>[0-9]{{1,5}}) "
    r"dport=[0-9]{{1,5}} (?:zone-[a-z]+=[0-9]+ )?(?:packets=[0-9]+ bytes=[0-9]+ )?"
)
_LINE = re.compile(
    r"(?:ipv4 +2|ipv6 +10) (?P<protocol>[a-z0-9]+) +[0-9]+ (?:[0-9]+ )?(?:[A-Z0-9_]+ )?"
    + _TUPLE.format("source")
    + r"(?:\[UNREPLIED\] )?"
    + _TUPLE.format("replier")
    + r"(?P<assured>\[(?:ASSURED|OFFLOAD|HW_OFFLOAD)\] )?.*"
)
_OTHER = re.compile(r"(?:ipv4 +2|ipv6 +10) [a-z0-9]+ +[0-9]+ .*")
"""Line of a protocol without ports."""

_WITH_PORTS = {"tcp": "TCP", "udp": "UDP", "sctp": "SCTP"}
_HIGHEST_PORT = 65535
_ADDRESS = re.compile(r" +\|-- ([0-9.]+)")
_ROUTE = re.compile(r" +/([0-9]{1,2}) (host LOCAL|link UNICAST)")
_INTERFACE = re.compile("([0-9a-f]{32}) [0-9a-f]+ ([0-9a-f]{2}) ")
_ALONE = 128
"""Prefix length of an IPv6 address without a network."""


class Connection(NamedTuple):
    """Connection that was established."""

    source: str
    destination: str
    """Destination after address translation: a pod, not a Service."""
    port: int
    protocol: str
    """TCP, UDP or SCTP."""
    source_port: int


class MalformedLineError(ValueError):
    """A line that the kernel does not write."""


def connection(line: str) -> Connection | None:
    """Return a line's connection; None for one that was not established, has no ports or is
    one of a host with itself, which no policy affects.

    A connection is established if both sides confirmed it. UDP has no such state, so one packet
    that was allowed is enough. Raises `MalformedLineError`.
    """
    if len(line) > LONGEST_LINE:
        raise MalformedLineError("too long")
    found = _LINE.fullmatch(line)
    if found is None:
        if _OTHER.fullmatch(line) and line.split()[2] not in _WITH_PORTS:
            return None
        raise MalformedLineError("not a tracked connection")
    protocol = _WITH_PORTS.get(found["protocol"])
    if protocol is None or (protocol != "UDP" and not found["assured"]):
        return None
    port, source_port = int(found["replier_port"]), int(found["source_port"])
    if max(port, source_port) > _HIGHEST_PORT:
        raise MalformedLineError("a port is above 65535")
    source, destination = _address_of(found["source"]), _address_of(found["replier"])
    if source.is_loopback or destination.is_loopback or source == destination:
        return None
    return Connection(str(source), str(destination), port, protocol, source_port)


def _address_of(text: str) -> IPv4Address | IPv6Address:
    try:
        return ip_address(text)
    except ValueError:
        raise MalformedLineError("an address is not valid") from None


def own_addresses(fib_trie: str, if_inet6: str) -> tuple[str, ...]:
    """Return a node's own addresses without loopback and link-local ones.

    Those in a network of an interface come first: kube-proxy in IPVS mode gives each node the
    addresses of all Services besides. The arguments are the texts of `/proc/net/fib_trie` and
    `/proc/net/if_inet6`.
    """
    found = {**_of_trie(fib_trie.splitlines()), **_of_interfaces(if_inet6.splitlines())}
    return tuple(
        str(each)
        for each in sorted(found, key=lambda each: (not found[each], each.version, each))
        if not each.is_loopback and not each.is_link_local
    )


def _of_trie(lines: list[str]) -> dict[IPv4Address | IPv6Address, bool]:
    """Return local addresses, and whether each is in a network of an interface."""
    local: set[IPv4Address] = set()
    networks: set[IPv4Network] = set()
    leaf = ""
    for line in lines:
        if address := _ADDRESS.fullmatch(line):
            leaf = address[1]
        elif leaf and (route := _ROUTE.fullmatch(line)):
            if route[2] == "link UNICAST":
                networks.add(IPv4Network(f"{leaf}/{route[1]}", strict=False))
            elif route[1] == "32":
                local.add(IPv4Address(leaf))
    return {each: any(each in network for network in networks) for each in local}


def _of_interfaces(lines: list[str]) -> dict[IPv4Address | IPv6Address, bool]:
    found: dict[IPv4Address | IPv6Address, bool] = {}
    for line in lines:
        if parts := _INTERFACE.match(line):
            address = IPv6Address(int(parts[1], 16))
            found[address] = int(parts[2], 16) < _ALONE
    return found
