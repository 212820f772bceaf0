"""Network namespaces, entered by a thread for as long as it takes to make a socket or a process.

What is made inside stays inside: a socket belongs to the namespace it was created in, a process to
that of the thread that forked it. So one process can listen and connect on both sides of a
namespace's wall. Python has `os.setns` since 3.12; here it is the C library's.
"""

import ctypes
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

CLONE_NEWNET = 0x4000_0000
CLONE_NEWUTS = 0x0400_0000

_libc = ctypes.CDLL(None, use_errno=True)


class NetworkNamespace:
    """A network namespace that lives as long as this, or any process or socket inside."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    @classmethod
    def create(cls) -> Self:
        """Make a new one, empty but for a loopback interface that is down."""
        with cls.current().inside():  # to come back to
            _check(_libc.unshare(CLONE_NEWNET), "unshare")
            return cls.current()

    @classmethod
    def current(cls) -> Self:
        """Return the one this thread is in."""
        return cls(os.open(f"/proc/self/task/{threading.get_native_id()}/ns/net", os.O_RDONLY))

    @classmethod
    def of(cls, process: int) -> Self:
        """Return the one of a process."""
        return cls(os.open(f"/proc/{process}/ns/net", os.O_RDONLY))

    @property
    def path(self) -> Path:
        """A name of it for other processes of the same pid namespace."""
        return Path(f"/proc/{os.getpid()}/fd/{self.descriptor}")

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Be inside; nothing may be awaited meanwhile."""
        before = self.current().descriptor
        _enter(self.descriptor)
        try:
            yield
        finally:
            _enter(before)
            os.close(before)

    def close(self) -> None:
        """Let go of it."""
        os.close(self.descriptor)


def own_hostname(name: str) -> None:
    """Give the calling process a host name of its own."""
    _check(_libc.unshare(CLONE_NEWUTS), "unshare")
    encoded = name.encode()
    _check(_libc.sethostname(encoded, len(encoded)), "sethostname")


def _enter(descriptor: int) -> None:
    _check(_libc.setns(descriptor, CLONE_NEWNET), "setns")


def _check(result: int, call: str) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")
