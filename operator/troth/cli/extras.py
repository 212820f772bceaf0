"""Guards for imports that need an optional extra of the package."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import typer

from troth.cli.exit_codes import ExitCode


@contextmanager
def needs_extra(name: str) -> Iterator[None]:
    """Print which extra to install if an import in the body fails."""
    try:
        yield
    except ModuleNotFoundError as error:
        typer.echo(f"module {error.name} is not installed: pip install 'troth[{name}]'", err=True)
        raise typer.Exit(ExitCode.UNUSABLE_INPUT) from None


def operator_extra() -> AbstractContextManager[None]:
    """Guard imports that connect to an API server."""
    return needs_extra("operator")


def issuer_extra() -> AbstractContextManager[None]:
    """Guard imports of the token issuer."""
    return needs_extra("issuer")


def gateway_extra() -> AbstractContextManager[None]:
    """Guard imports of the webhook gateway."""
    return needs_extra("gateway")
