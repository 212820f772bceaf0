"""Ranges of IP addresses that manifests list."""

import re
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_network

Network = IPv4Network | IPv6Network

_MOST_CHARACTERS, _MOST_RANGES = 64, 1000
_SEPARATORS = re.compile(r"[,;\s]+")
_OPEN = {4: 8, 6: 16}
"""Shorter prefixes admit so much of the internet that nobody trusts their addresses."""
_INTERNAL = tuple(
    map(
        ip_network,
        (
            "10.0.0.0/8",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "fc00::/7",
            "fe80::/10",
            "::1/128",
        ),
    )
)
"""Ranges that no sender outside has: RFC 1918, 6598, 3927 and 4193, and loopback."""


def split(text: str) -> list[str]:
    """Return the ranges of a list in a text, with commas or spaces between them."""
    return [each for each in _SEPARATORS.split(text)[:_MOST_RANGES] if each]


@lru_cache(maxsize=4096)
def network(text: str) -> Network | None:
    """Return the network that a range or an address describes, None if it is neither."""
    if len(text) > _MOST_CHARACTERS:
        return None
    try:
        return ip_network(text.strip(), strict=False)
    except ValueError:
        return None


def networks(ranges: Iterable[str]) -> list[Network]:
    """Return the networks of ranges, without those that cannot be read."""
    return [found for each in ranges if (found := network(each)) is not None]


def is_open(ranges: Iterable[str]) -> bool:
    """Return whether ranges admit the internet as a whole."""
    return any(map(_is_open, networks(ranges)))


def outside(ranges: Iterable[str]) -> list[Network]:
    """Return the networks that are on the internet, of ranges that do not admit it as a whole."""
    found = networks(list(ranges)[:_MOST_RANGES])
    if any(map(_is_open, found)):
        return []
    return [each for each in found if not _is_internal(each)]


def _is_open(one: Network) -> bool:
    return one.prefixlen < _OPEN[one.version] and not _is_internal(one)


def _is_internal(one: Network) -> bool:
    return any(is_within(one, inner) for inner in _INTERNAL)


def is_within(one: Network, other: Network) -> bool:
    """Return whether a network has only addresses of another one."""
    if isinstance(one, IPv4Network):
        return isinstance(other, IPv4Network) and one.subnet_of(other)
    return isinstance(other, IPv6Network) and one.subnet_of(other)
