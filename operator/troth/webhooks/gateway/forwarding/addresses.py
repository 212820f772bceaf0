"""Addresses of hosts, from lookups that are shared and kept for a short time.

The C library looks up a name in a thread, of which the process has few. Without sharing, the
deliveries to one host whose DNS is slow would use them all.
"""

import asyncio
import ipaddress
import socket
from functools import partial

from aiohappyeyeballs import AddrInfoType, addr_to_addr_infos

KEPT = 10.0
"""Time in seconds for which the addresses of a host are kept."""

_Key = tuple[str, int]
_Lookup = asyncio.Task[list[AddrInfoType]]


class Addresses:
    """Looks up each host at most once at a time. Use it in one event loop only."""

    def __init__(self) -> None:
        self._lookups: dict[_Key, _Lookup] = {}

    async def __call__(self, host: str, port: int) -> list[AddrInfoType]:
        """Return the addresses of a host; raises `OSError`, and `ValueError` for an invalid host.

        A lookup continues for others if its first caller is cancelled.
        """
        if _is_address(host):
            return addr_to_addr_infos((host, port)) or []
        key = host, port
        lookup = self._lookups.get(key)
        if lookup is None:
            lookup = self._lookups[key] = asyncio.create_task(_look_up(host, port))
            lookup.add_done_callback(partial(self._looked_up, key))
        return await asyncio.shield(lookup)

    def forget(self, host: str, port: int) -> None:
        """Look up a host again next time, because its addresses do not work."""
        lookup = self._lookups.get((host, port))
        if lookup is not None and lookup.done():
            del self._lookups[host, port]

    def _looked_up(self, key: _Key, lookup: _Lookup) -> None:
        if lookup.cancelled() or lookup.exception() is not None:
            self._remove(key, lookup)
        else:
            lookup.get_loop().call_later(KEPT, self._remove, key, lookup)

    def _remove(self, key: _Key, lookup: _Lookup) -> None:
        if self._lookups.get(key) is lookup:
            del self._lookups[key]


async def _look_up(host: str, port: int) -> list[AddrInfoType]:
    loop = asyncio.get_running_loop()
    return list(await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM))


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
