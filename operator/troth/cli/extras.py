"""Parts of the command that need more than the base installation."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer


@contextmanager
def operator_extra() -> Iterator[None]:
    """Say in a sentence what to install where an import inside fails."""
    try:
        yield
    except ModuleNotFoundError as error:
        typer.echo(f"this needs the module {error.name}: pip install 'troth[operator]'", err=True)
        raise typer.Exit(1) from None
