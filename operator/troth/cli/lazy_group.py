"""Group of commands that imports the module of a command only when that command is used.

`troth --help`, the completion of a command's name, and each command itself import nothing of the
other commands.
"""

from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup


@dataclass(frozen=True, slots=True)
class Entry:
    """A command as the list of commands shows it, and where its function or its group is."""

    name: str
    place: str
    """Module below `troth.cli` and attribute, as `module:attribute`."""
    summary: str
    """First sentence of its help."""

    def load(self) -> Any:  # noqa: ANN401 - the type of a command is private to typer
        """Import the module and return the command."""
        module, _, attribute = self.place.partition(":")
        found = getattr(import_module(f"troth.cli.{module}"), attribute)
        around = typer.Typer(rich_markup_mode=None)
        if isinstance(found, typer.Typer):
            around.add_typer(found, name=self.name)
        else:
            around.command(self.name)(found)
        return typer.main.get_group(around).commands[self.name]


class LazyGroup(TyperGroup):
    """Group whose `commands` have only a name and a summary, and are loaded to be used."""

    entries: ClassVar[tuple[Entry, ...]] = ()

    def __init__(self, **attributes: Any) -> None:  # noqa: ANN401 - typer's
        super().__init__(**attributes)
        self._entries = {each.name: each for each in self.entries}
        for each in self.entries:
            self.commands[each.name] = TyperCommand(each.name, help=each.summary)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:  # noqa: ANN401
        """Return the name, the command, and the arguments for it."""
        name, _, rest = super().resolve_command(ctx, args)
        return name, None if name is None else self._entries[name].load(), rest
