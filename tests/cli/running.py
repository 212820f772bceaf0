"""The `troth` command in this process, with its exit code as a shell sees it."""

import contextlib
import io
import sys
from dataclasses import dataclass
from unittest import mock

from troth.cli.main import main


@dataclass(frozen=True)
class Ended:
    """The output of a command, and its exit code."""

    code: int
    output: str
    errors: str

    @property
    def lines(self) -> list[str]:
        """The lines on standard output."""
        return self.output.splitlines()


def troth(*arguments: str, given: bytes = b"", name: str = "troth") -> Ended:
    """Run the command; `given` is its standard input, `name` the name it is called by."""
    output, errors = io.StringIO(), io.StringIO()
    stdin = io.TextIOWrapper(io.BytesIO(given))
    with (
        mock.patch.object(sys, "argv", [f"/usr/bin/{name}", *arguments]),
        mock.patch.object(sys, "stdin", stdin),
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(errors),
    ):
        try:
            main()
        except SystemExit as end:
            code = end.code
    assert isinstance(code, int)
    return Ended(code, output.getvalue(), errors.getvalue())
