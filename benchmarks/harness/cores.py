"""One core for the measured processes, and another for the load."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def available() -> list[int]:
    """Return the cores that this process may use."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]


def cores() -> tuple[int, int]:
    """Return the core of the servers and the core of the load, which differ if possible."""
    found = available()
    return found[0], found[-1]


def stay(core: int) -> None:
    """Pin this process to one core, if the platform supports it."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})


@contextmanager
def on(core: int) -> Iterator[None]:
    """Pin this process, and those that it starts, to one core while the context lasts."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def processor_seconds(pid: int) -> float:
    """Return the CPU time of a process's threads in seconds, as the scheduler counts it.

    The count has nanoseconds (Documentation/scheduler/sched-stats.rst); the times in proc(5) have
    only hundredths of a second.
    """
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(each.read_text().split()[0]) for each in threads) / 1e9


def resident(pid: int) -> float:
    """Return the resident memory of a process in MB of a million bytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
