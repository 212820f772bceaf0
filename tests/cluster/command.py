"""The `troth` command as a separate process, as a user runs it beside the operator."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.person import LONG

SOURCE = Path(__file__).parents[2] / "operator"


@dataclass(frozen=True)
class Ended:
    """The output of a command, and its exit code."""

    code: int
    output: str
    errors: str


class Command:
    """A command that runs while the test continues."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def prints(self, text: str) -> None:
        """Wait until it prints a line that contains a text."""
        assert self.process.stdout is not None
        async with asyncio.timeout(LONG):
            while line := await self.process.stdout.readline():
                if text in line.decode():
                    return
        raise AssertionError(f"ended without a word of {text!r}")

    async def ended(self) -> Ended:
        """Wait until it ends; return what it printed since."""
        async with asyncio.timeout(LONG):
            output, errors = await self.process.communicate()
        assert self.process.returncode is not None
        return Ended(self.process.returncode, output.decode(), errors.decode())


@asynccontextmanager
async def begun(kubeconfig: Path, *arguments: str) -> AsyncIterator[Command]:
    """Start a command; it does not outlive the context."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "troth.cli", *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ
        | {"PYTHONPATH": str(SOURCE), "TROTH_KUBECONFIG": str(kubeconfig), "NO_COLOR": "1"},
    )
    try:
        yield Command(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def troth(kubeconfig: Path, *arguments: str) -> Ended:
    """Run a command to its end."""
    async with begun(kubeconfig, *arguments) as command:
        return await command.ended()
