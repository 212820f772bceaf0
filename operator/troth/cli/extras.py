"""Parts of the command that need more than the base installation."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import typer


@contextmanager
def needs_extra(name: str) -> Iterator[None]:
    """Say in a sentence what to install where an import inside fails."""
    try:
        yield
    except ModuleNotFoundError as error:
        typer.echo(f"this needs the module {error.name}: pip install 'troth[{name}]'", err=True)
        raise typer.Exit(1) from None


def operator_extra() -> AbstractContextManager[None]:
    """Guard the imports of what talks to an API server."""
    return needs_extra("operator")


def issuer_extra() -> AbstractContextManager[None]:
    """Guard the imports of what issues tokens."""
    return needs_extra("issuer")


def gateway_extra() -> AbstractContextManager[None]:
    """Guard the imports of what verifies webhooks."""
    return needs_extra("gateway")
