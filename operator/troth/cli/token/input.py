"""Reads the token for `troth token`, preferably from standard input or a file.

A command line is visible in the shell history and the process list.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from troth.cli.token.decode import LIMIT
from troth.resources.faults import FaultyManifests, ManifestFault

TokenArgument = Annotated[
    str,
    typer.Argument(
        metavar="[-|@FILE|TOKEN]",
        show_default=False,
        help="Token: standard input, a file, or the token itself.",
    ),
]


def read_token(given: str) -> str:
    """Return the text of the token.

    Raises `FaultyManifests` if it cannot be read. No message quotes the token.
    """
    if given in ("", "-"):
        if sys.stdin.isatty():
            typer.echo("paste the token, then press Ctrl-D on a line of its own", err=True)
        return _bounded(sys.stdin.buffer.read(LIMIT + 1), "standard input")
    if given.startswith("@"):
        path = Path(given[1:])
        try:
            with path.open("rb") as file:
                return _bounded(file.read(LIMIT + 1), str(path))
        except OSError as error:
            sentence = error.strerror or "cannot be read"
            raise FaultyManifests([ManifestFault(str(path), "", "", sentence)]) from None
    typer.echo(
        "a token on the command line is visible in the shell history and the process list; "
        "give it on standard input, or as @FILE",
        err=True,
    )
    return given


def _bounded(raw: bytes, place: str) -> str:
    if len(raw) > LIMIT:
        raise FaultyManifests(
            [ManifestFault(place, "", "", f"not a token: larger than {LIMIT} bytes")]
        )
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise FaultyManifests(
            [ManifestFault(place, "", "", "not a token: not UTF-8 text")]
        ) from None
