"""A node leaves nothing on the machine, and changes nothing of the machine meanwhile."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox import Tier
from sandbox.node import cgroups
from tests.sandbox.nodes import skip_without
from tests.sandbox.observing import REPOSITORY, becomes, processes_of

HOLDER = """
import signal, sys, time
from pathlib import Path
import yaml
from sandbox import Sandbox, Tier
from sandbox.node.manifests import workload_pod
from tests.sandbox.nodes import addresses, apply

signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it

with Sandbox.start(Path(sys.argv[1]), tier=Tier(sys.argv[2])) as sandbox:
    names = ["one", "two", "three"]
    apply(sandbox, *(workload_pod("default", name, plain={"web": 8080}) for name in names))
    addresses(sandbox, "default", names)
    print("up", flush=True)
    time.sleep(600)
"""

SETTINGS = (
    "/proc/sys/net/ipv4/ip_forward",
    "/proc/sys/net/ipv4/icmp_ratemask",
    "/proc/sys/vm/overcommit_memory",
    "/proc/sys/kernel/panic",
    "/proc/sys/kernel/panic_on_oops",
    "/proc/sys/kernel/keys/root_maxkeys",
)
TABLES = ("/proc/net/ip_tables_names", "/proc/net/ip6_tables_names", "/proc/net/netfilter/nf_log")


def network() -> dict[str, str]:
    """Return the machine's links, addresses, routes, packet filter tables and settings."""
    asked = {
        command: subprocess.run(
            ["ip", "-o", *command.split()], capture_output=True, text=True, check=True
        ).stdout
        for command in ("link", "address", "route show table all")
    }
    files = {name: Path(name) for name in (*SETTINGS, *TABLES)}
    return asked | {name: file.read_text() for name, file in files.items() if file.exists()}


def mounts() -> set[str]:
    return set(Path("/proc/self/mounts").read_text().splitlines())


def listeners() -> set[str]:
    """Return the local addresses of all listening TCP sockets of this machine, in hexadecimal."""
    rows = [row.split() for row in Path("/proc/self/net/tcp").read_text().splitlines()[1:]]
    return {row[1].partition(":")[0] for row in rows if row[3] == "0A"}


def control_groups(owner: int) -> list[Path]:
    return list(Path("/sys/fs/cgroup").glob(f"**/troth-sandbox-{owner}-*"))


def rooted_in(directory: Path) -> list[str]:
    """Return the processes' root directories below `directory`.

    The arguments of process pods do not name that directory.
    """
    roots = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            roots.append(str((process / "root").readlink()))
    return [root for root in roots if root.startswith(str(directory))]


def run() -> set[str]:
    return {path.name for path in Path("/run").iterdir()}


@contextlib.contextmanager
def holder_of(directory: Path, tier: Tier) -> Iterator[subprocess.Popen[str]]:
    """Yield a process that holds a sandbox with three pods."""
    complaints = directory.with_suffix(".stderr")
    with (
        complaints.open("w") as stderr,
        subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(directory), str(tier)],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            start_new_session=True,
        ) as holder,
    ):
        assert holder.stdout
        assert holder.stdout.readline() == "up\n", complaints.read_text()
        yield holder


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.parametrize("tier", [Tier.PROCESS_PODS, Tier.NODE])
def test_nothing_is_left_when_the_holder_ends(
    tier: Tier, end: signal.Signals, tmp_path: Path
) -> None:
    skip_without(tier)
    directory = tmp_path / "sandbox"
    before = network(), mounts(), run(), listeners()
    with holder_of(directory, tier) as holder:
        assert (network(), mounts(), run()) == before[:3]
        assert listeners() - before[3] <= {"0100007F"}  # loopback
        assert bool(control_groups(holder.pid)) == (tier is Tier.NODE)
        assert len(rooted_in(directory)) == (3 if tier is Tier.PROCESS_PODS else 0)
        os.killpg(holder.pid, end)
        assert becomes(
            lambda: (
                not processes_of(directory)
                and not rooted_in(directory)
                and not directory.exists()
                and not control_groups(holder.pid)
            )
        )
    assert (network(), mounts(), run()) == before[:3]


@pytest.mark.long
def test_next_node_cleans_up_after_a_killed_reaper(tmp_path: Path) -> None:
    skip_without(Tier.NODE)
    directory = tmp_path / "sandbox"
    with holder_of(directory, Tier.NODE) as holder:
        (reaper,) = subprocess.run(
            ["pgrep", "--full", f"cgroups.py {holder.pid} "],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        os.kill(int(reaper), signal.SIGKILL)
        os.killpg(holder.pid, signal.SIGKILL)
        assert becomes(lambda: not processes_of(directory))
    assert control_groups(holder.pid)
    cgroups.sweep()
    assert not control_groups(holder.pid)
