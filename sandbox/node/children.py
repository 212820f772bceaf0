"""The processes inside a node.

This program is process 1 of a PID namespace, so that all processes in it end with it. It must also
reap orphaned processes, such as containerd's shims. So only this module waits for processes.
"""

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path

from sandbox.node.namespaces import NetworkNamespace

Ended = Callable[[int], None]


class Children:
    """Starts processes, and reports the end of each to its callback."""

    def __init__(self) -> None:
        self._running: dict[int, tuple[subprocess.Popen[bytes], Ended]] = {}

    def watch(self) -> None:
        """Begin to reap processes; needs a running event loop."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self._reap)

    def start(
        self,
        argv: Sequence[str | Path],
        *,
        log: Path,
        ended: Ended,
        network: NetworkNamespace | None = None,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        before_exec: Callable[[], None] | None = None,
    ) -> int:
        """Start a process, append its output to `log`, and return its process ID."""
        with log.open("ab") as output, network.inside() if network else nullcontext():
            process = subprocess.Popen(
                [str(part) for part in argv],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=cwd,
                env=env,
                preexec_fn=before_exec,  # noqa: PLW1509  there are no threads
            )
        self._running[process.pid] = process, ended
        return process.pid

    def kill(self, pid: int) -> None:
        """Kill a process; `ended` is called as usual."""
        if pid in self._running:
            os.kill(pid, signal.SIGKILL)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            known = self._running.pop(pid, None)
            if known:
                process, ended = known
                process.returncode = os.waitstatus_to_exitcode(status)
                ended(process.returncode)
