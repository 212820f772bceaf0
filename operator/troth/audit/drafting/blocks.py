"""Networks of the `ipBlock` of a NetworkPolicy."""

from ipaddress import IPv4Network, IPv6Network

from troth.audit.drafting.ends import Network
from troth.audit.facts.ranges import network

MOST_NETWORKS = 16
"""Most networks that one block becomes if it has `except`."""


class UnusableBlockError(ValueError):
    """A block that no entries can express; its text is a clause that says why."""


def networks(block: dict[str, object]) -> list[Network]:
    """Return the networks of a block, without those under `except`.

    Raises `UnusableBlockError`.
    """
    whole = _network(block.get("cidr"))
    if whole is None:
        raise UnusableBlockError("an ipBlock whose cidr is no network")
    excepted = block.get("except")
    left: list[IPv4Network | IPv6Network] = [whole]
    for each in excepted if isinstance(excepted, list) else ():
        out = _network(each)
        if out is None or out.version != whole.version:
            raise UnusableBlockError(f"{whole} with except, of which a part is no part of it")
        left = [part for known in left for part in _without(known, out)]
        if len(left) > MOST_NETWORKS:
            raise UnusableBlockError(
                f"{whole} with except, which takes more than {MOST_NETWORKS} networks to write"
            )
    return [Network(str(each)) for each in sorted(left)]


def _network(value: object) -> IPv4Network | IPv6Network | None:
    """Return a network; bits of a host are left out, as enforcers do."""
    return network(value) if isinstance(value, str) else None


def _without(
    known: IPv4Network | IPv6Network, out: IPv4Network | IPv6Network
) -> list[IPv4Network | IPv6Network]:
    if not known.overlaps(out):
        return [known]
    if known.prefixlen >= out.prefixlen:
        return []
    if isinstance(known, IPv4Network):
        return [*known.address_exclude(out)] if isinstance(out, IPv4Network) else [known]
    return [*known.address_exclude(out)] if isinstance(out, IPv6Network) else [known]
