"""TCP connections whose failures say what stopped them."""

import errno
import secrets
import select
import socket
import struct
from ipaddress import ip_address
from pathlib import Path

from troth.documents.probes import Outcome

RESOLVER = Path("/etc/resolv.conf")
_DNS = 53
_QUESTION = bytes.fromhex("0100 0001 0000 0000 0000 07636c7573746572 056c6f63616c 00 0001 0001")
"""Question for the address of cluster.local, without its number. Any answer will do."""
_QUEUE = socket.MSG_ERRQUEUE
_IP_RECVERR, _IPV6_RECVERR = 11, 25
_ERROR = struct.Struct("=IBBB")
"""Beginning of struct sock_extended_err: error number, origin, ICMP type and code."""
_FILTERS = {(2, 3): frozenset({3, 9, 10, 13}), (3, 1): frozenset({1, 4, 5, 6})}
"""Codes of ICMP messages that packet filters send, by origin (2: IPv4, 3: IPv6) and type: a host
rejects TCP with a reset, and a router that has no route sends other codes."""
_TRIES = 3


def connect(address: str, port: int, timeout: float) -> socket.socket | Outcome:
    """Return a connection, or what stopped it.

    Only the socket's error queue shows whether an ICMP message or a reset rejected it; the error
    numbers are the same.
    """
    family = socket.AF_INET6 if ip_address(address).version == 6 else socket.AF_INET  # noqa: PLR2004
    opened = socket.socket(family, socket.SOCK_STREAM)
    if family == socket.AF_INET:
        opened.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
    else:
        opened.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)
    opened.settimeout(0)
    code = opened.connect_ex((address, port))
    if code == errno.EINPROGRESS:
        _, writable, _ = select.select([], [opened], [], timeout)
        code = opened.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) if writable else errno.EAGAIN
    if code == 0:
        opened.settimeout(timeout)
        return opened
    outcome = _outcome(opened, code)
    opened.close()
    return outcome


def _outcome(failed: socket.socket, code: int) -> Outcome:
    if _is_filtered(failed):
        return Outcome.REJECTED
    if code == errno.ECONNREFUSED:
        return Outcome.RESET
    silent = (errno.EAGAIN, errno.ETIMEDOUT)
    return Outcome.TIMEOUT if code in silent else Outcome.UNREACHABLE


def _is_filtered(failed: socket.socket) -> bool:
    try:
        _, messages, _, _ = failed.recvmsg(64, 256, _QUEUE)
    except OSError:
        return False
    for _, _, data in messages:
        if len(data) >= _ERROR.size:
            _, origin, kind, code = _ERROR.unpack_from(data)
            if code in _FILTERS.get((origin, kind), ()):
                return True
    return False


def resolver_answers(timeout: float, file: Path = RESOLVER) -> bool:
    """Return whether the cluster's resolver, which every workload may reach, answers a query.

    Then the network of this pod works.
    """
    try:
        lines = file.read_text().splitlines()
    except (OSError, ValueError):
        return False
    servers = [each.split()[1] for each in lines if each.startswith("nameserver ")]
    return any(_answers(each, timeout) for each in servers * _TRIES)


def _answers(server: str, timeout: float) -> bool:
    number = secrets.token_bytes(2)
    try:
        family = socket.AF_INET6 if ip_address(server).version == 6 else socket.AF_INET  # noqa: PLR2004
        with socket.socket(family, socket.SOCK_DGRAM) as opened:
            opened.settimeout(timeout)
            opened.connect((server, _DNS))
            opened.send(number + _QUESTION)
            return opened.recv(512).startswith(number)
    except (OSError, ValueError):
        return False
