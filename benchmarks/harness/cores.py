"""One core for who is measured, and another for who asks."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def cores() -> tuple[int, int]:
    """Return the core of the servers, and that of who asks: another, where there is one."""
    found = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
    return found[0], found[-1]


def stay(core: int) -> None:
    """Keep this process on one core, where one can be chosen."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})


@contextmanager
def on(core: int) -> Iterator[None]:
    """Keep this process, and those that it starts, on one core while the context lasts."""
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
    """Return how long a process's threads have had a core, as the scheduler counts it.

    To the nanosecond (Documentation/scheduler/sched-stats.rst); proc(5)'s own times are hundredths.
    """
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(each.read_text().split()[0]) for each in threads) / 1e9


def resident(pid: int) -> float:
    """Return what a process holds in MB, each a million bytes, as the kernel says."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
