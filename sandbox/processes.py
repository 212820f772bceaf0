"""Processes that end with the process that started them."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sandbox.closing import Closing
from sandbox.errors import SandboxError

TAIL_LINES = 25


class Tether(Closing):
    """Starts and stops named processes that end with this one, even if it is killed.

    `directory` is for their files; it is removed at the end, after they have ended. Safe to use
    from several threads.
    """

    def __init__(self, directory: Path) -> None:
        script = str(Path(__file__).with_name("tether.py"))
        self.directory = directory
        self._lock = threading.Lock()
        self._asked = 0
        self._tether = subprocess.Popen(
            # -I -S: without site-packages, it starts in a few hundredths of a second.
            [sys.executable, "-I", "-S", script, str(os.getpid()), str(directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # In a session of its own: Ctrl-C in the terminal must reach only this process.
            # Otherwise the components end before their owner knows why.
            start_new_session=True,
        )

    def start(
        self,
        name: str,
        argv: Sequence[str | Path],
        *,
        log: Path,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> int:
        """Start a process, append its output to `log`, and return its process ID."""
        answer = self._ask(
            do="start",
            name=name,
            argv=[str(part) for part in argv],
            log=str(log),
            cwd=str(cwd) if cwd else None,
            env=dict(env) if env is not None else None,
        )
        return int(answer["pid"])

    def poll(self, name: str) -> int | None:
        """Return the exit status of a process, `None` while it runs."""
        returncode = self._ask(do="poll", name=name)["returncode"]
        return None if returncode is None else int(returncode)

    def stop(self, name: str, *, grace: float) -> None:
        """Ask a process to end, and kill it after `grace` seconds."""
        self._ask(do="stop", name=name, grace=grace)

    def close(self) -> None:
        """End every process, and return when they are gone."""
        assert self._tether.stdin
        assert self._tether.stdout
        with contextlib.suppress(BrokenPipeError):
            self._tether.stdin.close()
        self._tether.wait()
        self._tether.stdout.close()
        shutil.rmtree(self.directory, ignore_errors=True)  # if the tether was killed

    def _ask(self, **request: Any) -> dict[str, Any]:  # noqa: ANN401  JSON is what it is
        assert self._tether.stdin
        assert self._tether.stdout
        with self._lock:
            self._asked += 1
            try:
                self._tether.stdin.write(json.dumps({**request, "number": self._asked}).encode())
                self._tether.stdin.write(b"\n")
                self._tether.stdin.flush()
                # Ctrl-C may have interrupted an earlier request before its response.
                answer: dict[str, Any] = {"number": 0}
                while answer["number"] < self._asked:
                    answer = json.loads(self._tether.stdout.readline())
            except (BrokenPipeError, json.JSONDecodeError) as error:
                raise SandboxError(
                    "the process that held the sandbox's processes has been killed"
                ) from error
        if "error" in answer:
            raise SandboxError(f"{request['name']}: {answer['error']}")
        return answer


def tail(log: Path, lines: int = TAIL_LINES) -> str:
    """Return the last lines of a log, empty if there is none."""
    if not log.exists():
        return ""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
