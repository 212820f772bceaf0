"""The processes on the inside of a node.

This runs as process 1 of a pid namespace, so that all of them die with it, and it has to bury
whoever loses its parent, as containerd's shims do at birth. So there is one place that waits.
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
    """Starts processes, and tells whoever asked when one has ended and how."""

    def __init__(self) -> None:
        self._running: dict[int, tuple[subprocess.Popen[bytes], Ended]] = {}

    def watch(self) -> None:
        """Begin to notice ends; needs the running loop."""
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
        """Start one, with its output appended to `log`; return its process id."""
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
        """End one now; `ended` is called as ever."""
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
