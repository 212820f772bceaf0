"""Commands are loaded only when they are used, and shown as if they were loaded."""

import pytest
import typer

from tests.cli.commands import command_tree
from troth.cli.lazy_group import Entry
from troth.cli.main import COMMANDS, app

WIDTHS = (20, 45, 80, 200)


@pytest.mark.parametrize("entry", COMMANDS, ids=lambda entry: entry.name)
def test_summary_is_the_first_sentence_of_the_command(entry: Entry) -> None:
    listed = typer.main.get_group(app).commands[entry.name]
    loaded = entry.load()
    assert loaded.name == entry.name
    for width in WIDTHS:
        assert listed.get_short_help_str(width) == loaded.get_short_help_str(width)


def test_no_command_is_without_help() -> None:
    assert all(each.help for each in command_tree().commands.values())
