"""A program that ends other processes when its owner ends.

`sandbox.processes.Tether` runs this module as a script. It is never imported: it must start fast,
so it uses only the standard library. Its standard input is a pipe that its owner holds open. When
the owner ends, even by Ctrl-C or SIGKILL, the kernel closes the pipe. Then the program kills all
its processes and removes the directory.

    tether.py OWNER_PID DIRECTORY

Requests and responses are one JSON object a line. The requests are `start`, `poll` and `stop`.
"""

import contextlib
import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

PR_SET_PDEATHSIG = 1
OWNER_CHECK_SECONDS = 1.0

Answer = dict[str, Any]


def dying_with(tether: int) -> Callable[[], None] | None:
    """Return a function that a child calls before exec, so that it dies with this process.

    The kernel then kills the child even if this process is killed. The signal comes when the
    *thread* that forked ends; this process has only one. Only Linux has this signal.
    """
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)

    def ask_for_the_signal() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != tether:  # the parent was killed before prctl
            os._exit(1)

    return ask_for_the_signal


class Processes:
    """The processes of one owner, by name."""

    def __init__(self) -> None:
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._before_exec = dying_with(os.getpid())

    def start(
        self, name: str, argv: list[str], log: str, cwd: str | None, env: dict[str, str] | None
    ) -> Answer:
        """Start a process in a session of its own, and append its output to `log`."""
        if name in self._running and self._running[name].poll() is None:
            return {"error": "runs already"}
        with Path(log).open("ab") as output:
            self._running[name] = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=cwd,
                env=env,
                start_new_session=True,
                preexec_fn=self._before_exec,  # noqa: PLW1509  there are no threads
            )
        return {"pid": self._running[name].pid}

    def poll(self, name: str) -> Answer:
        """Return the exit status of a process, or null while it runs."""
        if name not in self._running:
            return {"error": "was not started"}
        return {"returncode": self._running[name].poll()}

    def stop(self, name: str, grace: float) -> Answer:
        """Ask a process to end; kill it and its descendants after `grace` seconds."""
        process = self._running.pop(name, None)
        if not process:
            return {"error": "was not started"}
        if grace:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(grace)
        return {"returncode": self._kill(process)}

    def kill_all(self) -> None:
        """Kill all processes at once: none has state worth saving."""
        while self._running:
            self._kill(self._running.popitem()[1])

    @staticmethod
    def _kill(process: subprocess.Popen[bytes]) -> int:
        # Kill the whole group, because a build has compilers as children. If the group is gone,
        # macOS answers "not permitted".
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        return process.wait()


def requests(owner: int) -> Iterator[Answer]:
    """Yield the owner's requests until it ends.

    Also check the owner's process ID: a child that the owner forked without exec has a copy of the
    pipe and would keep it open.
    """
    pending = b""
    while os.getppid() == owner:
        if not select.select([0], [], [], OWNER_CHECK_SECONDS)[0]:
            continue
        chunk = os.read(0, 65536)
        if not chunk:
            return
        *lines, pending = (pending + chunk).split(b"\n")
        for line in lines:
            yield json.loads(line)


def main(owner: int, directory: str) -> None:
    """Serve until the owner ends, then kill all processes and remove the directory."""

    def end(_signal: int, _frame: object) -> NoReturn:
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    processes = Processes()
    actions: dict[str, Callable[..., Answer]] = {
        "start": processes.start,
        "poll": processes.poll,
        "stop": processes.stop,
    }
    try:
        for request in requests(owner):
            number = request.pop("number")
            try:
                answer = actions[request.pop("do")](**request)
            except OSError as error:
                answer = {"error": str(error)}
            os.write(1, json.dumps({**answer, "number": number}).encode() + b"\n")
    except BrokenPipeError:
        pass
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        processes.kill_all()
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
