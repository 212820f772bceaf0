"""Runs one slow command to its end, with progress, and ends it with this process."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from sandbox.errors import BuildError
from sandbox.processes import Tether, tail
from sandbox.progress import waiting


def run(
    tether: Tether,
    argv: Sequence[str | Path],
    *,
    doing: str,
    what: str,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> None:
    """Run a command to its end, and show progress.

    Its temporary files are in the tether's directory and are removed with it, even after a kill.
    Raises `BuildError` about `what`, with the end of the output, if the command fails.
    """
    with waiting(f"{doing} {what}") as beat:
        run_quietly(tether, argv, what=what, cwd=cwd, env=env, beat=beat)


def run_quietly(
    tether: Tether,
    argv: Sequence[str | Path],
    *,
    what: str,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    beat: Callable[[], None] = lambda: None,
) -> None:
    """Run a command as `run` does, but show nothing; call `beat` often meanwhile."""
    log = tether.directory / "output"
    environment = {**(os.environ if env is None else env), "TMPDIR": str(tether.directory)}
    tether.start(what, argv, log=log, cwd=cwd, env=environment)
    while (returncode := tether.poll(what)) is None:
        beat()
        time.sleep(0.1)
    if returncode:
        raise BuildError(what, tail(log))
