"""Network namespaces, which a thread enters to create a socket or a process.

A socket belongs to the namespace in which it was created, a process to the namespace of the thread
that forked it. So one process can listen and connect both inside and outside a namespace. Python
has `os.setns` since 3.12; this module calls the C library.
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
    """A network namespace; it exists as long as this object, or a process or socket inside."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    @classmethod
    def create(cls) -> Self:
        """Create a namespace with only a loopback interface, which is down."""
        with cls.current().inside():  # returns to the current namespace at the end
            _check(_libc.unshare(CLONE_NEWNET), "unshare")
            return cls.current()

    @classmethod
    def current(cls) -> Self:
        """Return the namespace of this thread."""
        return cls(os.open(f"/proc/self/task/{threading.get_native_id()}/ns/net", os.O_RDONLY))

    @classmethod
    def of(cls, process: int) -> Self:
        """Return the namespace of a process."""
        return cls(os.open(f"/proc/{process}/ns/net", os.O_RDONLY))

    @property
    def path(self) -> Path:
        """Path of the namespace for other processes in the same PID namespace."""
        return Path(f"/proc/{os.getpid()}/fd/{self.descriptor}")

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Enter the namespace for the context; do not await inside."""
        before = self.current().descriptor
        _enter(self.descriptor)
        try:
            yield
        finally:
            _enter(before)
            os.close(before)

    def close(self) -> None:
        """Close the file descriptor of the namespace."""
        os.close(self.descriptor)


def own_hostname(name: str) -> None:
    """Set the host name of the calling process in a new UTS namespace."""
    _check(_libc.unshare(CLONE_NEWUTS), "unshare")
    encoded = name.encode()
    _check(_libc.sethostname(encoded, len(encoded)), "sethostname")


def _enter(descriptor: int) -> None:
    _check(_libc.setns(descriptor, CLONE_NEWNET), "setns")


def _check(result: int, call: str) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")
