"""Output formats that every command shares, and consoles that respect NO_COLOR."""

import json
import os
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.console import Console

from troth.resources.manifests import dump
from troth.resources.quoting import COMMAND

WIDTH = 100
"""Width of reports that wrap, in columns."""


class Output(StrEnum):
    """Output format."""

    TEXT = "text"
    JSON = "json"
    YAML = "yaml"


class Structured(StrEnum):
    """Output format of a command that prints resources alone."""

    JSON = "json"
    YAML = "yaml"


OutputOption = Annotated[Output, typer.Option("--output", "-o", help="Output format.")]
StructuredOption = Annotated[Structured, typer.Option("--output", "-o", help="Output format.")]


def structured(document: dict[str, Any], output: StrEnum) -> str:
    """Return a document in the format `json` or `yaml`, with a newline at its end.

    It has ASCII characters alone, because others control terminals or change text direction, and
    a document may have claims of a token that is not verified.
    """
    if output.value == Output.YAML.value:
        return dump(document, ascii=True)
    # in JSON, `#` and `[` stand beside one another only in text
    return json.dumps(document, indent=2).replace(COMMAND, "##\\u005b") + "\n"


def console(*, errors: bool = False, wrap: bool = True) -> Console:
    """Return the console for text on standard output or standard error.

    With `wrap`, text is at most `WIDTH` columns wide; otherwise a line stays as long as it is. If
    the environment sets NO_COLOR (https://no-color.org), the text has no escape sequences at all.
    """
    plain = bool(os.environ.get("NO_COLOR"))
    made = Console(
        stderr=errors,
        highlight=False,
        emoji=False,  # `manifest.yaml:100:` has the form of the code of one
        soft_wrap=not wrap,
        color_system=None if plain else "auto",
    )
    if wrap:
        made.width = min(made.width, WIDTH) if made.is_terminal else WIDTH
    return made
