"""A process that ends others when the one it serves is gone.

Run as a script by `sandbox.processes.Tether`, never imported: it must start in no time, so it
uses the standard library only. Its standard input is a pipe that its owner holds open. However
the owner ends, by returning, by Ctrl-C or by SIGKILL, the kernel closes the pipe; then
everything started here is killed and the directory removed.

    tether.py OWNER_PID DIRECTORY

One JSON object a line each way: `start`, `poll` and `stop` in, one answer each out.
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
    """What a child does before its exec, so that it ends even if this process is killed.

    The signal comes when the *thread* that forked ends; this process has one only. Linux alone
    knows it.
    """
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)

    def ask_for_the_signal() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != tether:  # killed before we could ask
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
        """Start one, its output appended to `log`, in a session of its own."""
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
        """Say how it ended, or null while it runs."""
        if name not in self._running:
            return {"error": "was not started"}
        return {"returncode": self._running[name].poll()}

    def stop(self, name: str, grace: float) -> Answer:
        """Ask it to end, and kill it and its descendants after `grace` seconds."""
        process = self._running.pop(name, None)
        if not process:
            return {"error": "was not started"}
        if grace:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(grace)
        return {"returncode": self._kill(process)}

    def kill_all(self) -> None:
        """End everything at once: nothing here has a state worth saving."""
        while self._running:
            self._kill(self._running.popitem()[1])

    @staticmethod
    def _kill(process: subprocess.Popen[bytes]) -> int:
        # The whole group, since a build has compilers as children. It may be gone already; macOS
        # then answers "not permitted".
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        return process.wait()


def requests(owner: int) -> Iterator[Answer]:
    """What the owner asks for, until it is gone.

    The owner's process id is looked at as well: a child the owner forked without exec has a copy
    of the pipe and would keep it open.
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
    """Serve until the owner is gone, then leave nothing behind."""

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
