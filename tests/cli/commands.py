"""The commands of `troth` with their options, all of them loaded."""

from functools import cache
from typing import Any

import typer

from troth.cli.main import COMMANDS, app


@cache
def command_tree() -> Any:
    """Return the `troth` command; its `commands` are loaded."""
    group: Any = typer.main.get_command(app)
    group.commands = {each.name: each.load() for each in COMMANDS}
    return group
