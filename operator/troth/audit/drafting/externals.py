"""Groups destinations outside the cluster into `external` entries."""

from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network
from typing import Any

from troth.audit.drafting.ends import Clue, Host, Network, together

MOST_CIDRS = 32
_MOST_NAMED = 16
"""Most networks that a note names."""
_WIDTHS = {4: (32, 24, 20, 16), 6: (128, 64, 48, 32)}
"""Prefix lengths to try, until there are few enough networks."""

Outside = dict[Network | Host, dict[tuple[int, str], list[Clue]]]


def external_entries(
    outside: Outside, notes: list[str]
) -> Iterator[tuple[dict[str, Any], list[Clue]]]:
    """Yield an `external` entry for each port, and the clues for it.

    Clues name hosts or addresses, seldom both. If one host is named for a port, the addresses of
    that port are taken for its own. What no entry can say is added to `notes`.
    """
    networks: dict[int, dict[str, list[Clue]]] = {}
    hosts: dict[int, dict[str, list[Clue]]] = {}
    for callee, numbers in outside.items():
        for (port, protocol), clues in numbers.items():
            if isinstance(callee, Host):
                hosts.setdefault(port, {}).setdefault(callee.name, []).extend(clues)
            elif protocol == "TCP":
                networks.setdefault(port, {}).setdefault(callee.cidr, []).extend(clues)
            else:
                notes.append(
                    f"Review: it calls {callee.cidr} on {protocol} port {port}, which external "
                    f"cannot declare ({_all(clues)})."
                )
    for port, by_cidr in sorted(networks.items()):
        named = hosts.get(port, {})
        found = [clue for clues in by_cidr.values() for clue in clues]
        if len(named) == 1:
            ((host, clues),) = named.items()
            del hosts[port]
            found += clues
        else:
            host = f"external-{port}.invalid"
            notes.append(
                f"Review: replace {host} by the name of the host that it calls on port {port}."
            )
        cidrs, left_out = _few([*by_cidr])
        if left_out:
            more = ", ".join(left_out[:_MOST_NAMED])
            notes.append(
                f"Review: it calls {len(left_out)} more networks on port {port} than the entry "
                f"has: {more}{', ...' if len(left_out) > _MOST_NAMED else ''}."
            )
        yield {"external": {"host": host, "cidrs": cidrs, "ports": [port]}}, found
    for port, left in sorted(hosts.items()):
        for host, clues in sorted(left.items()):
            notes.append(
                f"Review: it names {host}:{port} ({_all(clues)}), and no connection shows its "
                "networks. Add it under external with its networks."
            )


def _all(clues: list[Clue]) -> str:
    return "; ".join(each.sentence() for each in together(clues))


def _few(cidrs: list[str]) -> tuple[list[str], list[str]]:
    """Return networks that cover all, as narrow as an entry allows, and those without room."""
    found: list[str] = []
    left_out: list[str] = []
    for version, widths in _WIDTHS.items():
        own = [each for each in map(ip_network, cidrs) if each.version == version]
        for width in widths:
            wider = [
                each if each.prefixlen <= width else each.supernet(new_prefix=width) for each in own
            ]
            four = [each for each in wider if isinstance(each, IPv4Network)]
            six = [each for each in wider if isinstance(each, IPv6Network)]
            collapsed = list(map(str, (*collapse_addresses(four), *collapse_addresses(six))))
            if len(collapsed) <= MOST_CIDRS // 2:
                break
        found += collapsed[: MOST_CIDRS // 2]
        left_out += collapsed[MOST_CIDRS // 2 :]
    return found, left_out
