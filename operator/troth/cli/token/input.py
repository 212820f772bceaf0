"""Where `troth token` takes a token from: best from standard input or a file.

What stands on a command line is in the shell's history and in every process list.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from troth.cli.token.decode import LIMIT
from troth.resources.manifests import Fault, FaultyManifests

Given = Annotated[
    str,
    typer.Argument(
        metavar="[-|@FILE|TOKEN]",
        show_default=False,
        help="Standard input, a file, or the token itself.",
    ),
]


def read_token(given: str) -> str:
    """Return the text of the token that a command was given.

    Raises `FaultyManifests` where it cannot be read. No sentence quotes the token.
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
            sentence = error.strerror or "it cannot be read"
            raise FaultyManifests([Fault(str(path), "", "", sentence)]) from None
    typer.echo(
        "a token on the command line is in the shell's history and in the list of processes; "
        "give it on standard input, or as @file",
        err=True,
    )
    return given


def _bounded(raw: bytes, place: str) -> str:
    if len(raw) > LIMIT:
        raise FaultyManifests([Fault(place, "", "", f"more than {LIMIT} bytes are no token")])
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise FaultyManifests([Fault(place, "", "", "this is no text, and so no token")]) from None
