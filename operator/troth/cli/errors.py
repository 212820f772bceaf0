"""Turns what ends a command into one line for each fault and an exit code, never a traceback."""

import traceback
from pathlib import Path

from troth.cli.exit_codes import ExitCode
from troth.cli.output import console
from troth.cli.quoting import quoted
from troth.resources.faults import FaultyManifests, place_in

_PACKAGE = Path(__file__).parents[1]


def report(error: Exception) -> ExitCode:
    """Print an error on standard error and return the exit code."""
    match error:
        case FaultyManifests():
            lines, code = [fault.with_value() for fault in error.faults], ExitCode.UNUSABLE_INPUT
        case OSError() if error.strerror:
            place = f"{place_in(str(error.filename), 0)}: " if error.filename is not None else ""
            lines, code = [f"{place}{error.strerror}"], ExitCode.UNUSABLE_INPUT
        case _:
            lines, code = [internal_error(error)], ExitCode.INTERNAL_ERROR
    shown = console(errors=True, wrap=False)
    for line in lines:
        shown.print(quoted(line), style="red", markup=False)  # it may contain text of a manifest
    return code


def internal_error(error: BaseException) -> str:
    """Return the line for a bug in Troth.

    It names the type of the exception and not its text, which may quote a secret.
    """
    frames = traceback.extract_tb(error.__traceback__)
    mine = [frame for frame in frames if Path(frame.filename).is_relative_to(_PACKAGE)]
    place = ""
    if mine:
        file = Path(mine[-1].filename).relative_to(_PACKAGE.parent)
        place = f" at {file}:{mine[-1].lineno}"
    return (
        f"internal error: {type(error).__name__}{place}; this is a bug in Troth, please report it "
        "with this line"
    )
