"""A sandbox that outlives the command that started it, until `down` ends it.

Each has a name and a directory in the cache:

    holder         locked while the sandbox is up; contains the holder's process ID
    holder.log     error output of the holder
    tier           tier of the sandbox
    bin/           kubectl and helm
    control-plane/ the sandbox itself, removed when it ends

The holder is this module, run as a program. The kernel releases its lock when it ends. So the
process ID is used only while the lock is held: after that, another process may have it.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from sandbox import tools
from sandbox.cache import cache_directory, locked, try_lock
from sandbox.cluster import Sandbox
from sandbox.errors import SandboxError
from sandbox.node import starting
from sandbox.node.settings import CONTROL_SOCKET
from sandbox.node.tiers import Tier
from sandbox.processes import tail
from sandbox.progress import waiting

END_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class DetachedSandbox:
    """A detached sandbox by its name, whether up or not."""

    name: str = "default"

    @property
    def kubeconfig(self) -> Path:
        """Kubeconfig of the administrator; exists while the sandbox is up."""
        return self._control_plane / "kubeconfig"

    @property
    def programs(self) -> Path:
        """Directory of kubectl and helm, for PATH."""
        return self._directory / "bin"

    @property
    def tier(self) -> Tier:
        """Tier of the sandbox while it is up."""
        return Tier(self._tier_file.read_text())

    def up(self, tier: Tier = Tier.CONTROL_PLANE) -> bool:
        """Start the sandbox unless it is up; return whether it was started.

        Raises `SandboxError` if this machine does not support the tier.
        """
        for program in tools.CLUSTER:
            tools.ensure(program)
        starting.prepare(tier)
        with locked(self._directory, meanwhile="waiting for another command on this sandbox"):
            if self._holder():
                return False
            self._clear()
            self._start(tier)
            return True

    def down(self) -> bool:
        """End the sandbox, or remove what a crash left; return whether it was up."""
        with locked(self._directory, meanwhile="waiting for another command on this sandbox"):
            holder = self._holder()
            if holder:
                os.kill(holder, signal.SIGTERM)
                if not _within(END_SECONDS, lambda: not self._holder()):
                    os.kill(holder, signal.SIGKILL)
            self._clear()
            return holder is not None

    def is_up(self) -> bool:
        """Return whether a holder runs."""
        with locked(self._directory, meanwhile="waiting for another command on this sandbox"):
            return self._holder() is not None

    def hold(self) -> None:
        """Run as the holder: start the sandbox, and keep it until SIGTERM."""

        def end(_signal: int, _frame: object) -> NoReturn:
            raise SystemExit(0)

        signal.signal(signal.SIGTERM, end)
        with self._lock_file.open("a+") as file:
            if not try_lock(file.fileno()):
                raise SandboxError(f"the sandbox {self.name} is held already")
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            with Sandbox.start(self._control_plane, tier=self.tier):
                while True:
                    signal.pause()

    @property
    def _directory(self) -> Path:
        return cache_directory() / "clusters" / self.name

    @property
    def _control_plane(self) -> Path:
        return self._directory / "control-plane"

    @property
    def _lock_file(self) -> Path:
        return self._directory / "holder"

    @property
    def _tier_file(self) -> Path:
        return self._directory / "tier"

    @property
    def _log(self) -> Path:
        return self._directory / "holder.log"

    def _holder(self) -> int | None:
        """Return the process ID of the holder, `None` if there is none."""
        if not self._lock_file.exists():
            return None
        with self._lock_file.open() as file:
            if try_lock(file.fileno()):
                return None
            while not (text := file.read()):  # the holder has the lock and has not written yet
                time.sleep(0.01)
            return int(text)

    def _start(self, tier: Tier) -> None:
        self.programs.mkdir(parents=True)
        self._tier_file.write_text(tier)
        for program in ("kubectl", "helm"):
            (self.programs / program).symlink_to(tools.ensure(program))
        with waiting(f"starting the {_called(tier)}") as beat, self._log.open("wb") as log:
            holder = subprocess.Popen(
                [sys.executable, "-m", "sandbox.detached", self.name],
                cwd=Path(__file__).parent.parent,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            try:
                self._wait_until_ready(holder, beat)
            except BaseException:
                holder.terminate()
                holder.wait()
                raise

    def _wait_until_ready(self, holder: subprocess.Popen[bytes], beat: Callable[[], None]) -> None:
        # The node's socket is the last file of a sandbox with a node to appear.
        last = self._control_plane / CONTROL_SOCKET if self.tier.has_node else self.kubeconfig
        while not last.exists():
            if holder.poll() is not None:
                raise SandboxError(tail(self._log))
            beat()
            time.sleep(0.05)

    def _clear(self) -> None:
        # If the holder was killed, its tether needs a moment to end the components.
        _within(END_SECONDS if self._control_plane.exists() else 0, self._is_gone)
        shutil.rmtree(self._directory, ignore_errors=True)

    def _is_gone(self) -> bool:
        return not self._control_plane.exists()


def _called(tier: Tier) -> str:
    return "control plane and the node" if tier.has_node else "control plane"


def _within(seconds: float, condition: Callable[[], bool]) -> bool:
    """Wait for a condition; return whether it became true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


if __name__ == "__main__":
    try:
        DetachedSandbox(sys.argv[1]).hold()
    except SandboxError as error:
        sys.exit(str(error))
