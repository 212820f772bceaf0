"""Follows the state of a cluster: `troth status --watch`."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import typer
from rich.control import Control

from troth.cli.inputs.access import connected, refusal
from troth.cli.inputs.targets import Named
from troth.cli.output import console
from troth.cli.quoting import quoted
from troth.cli.status.collect import survey
from troth.cli.status.report import Report
from troth.cluster.errors import ApiError

FINAL = frozenset({401, 403, 404})
"""Status codes of the API server that another attempt does not change."""


async def follow(  # noqa: PLR0917 - one call, from the command
    target: Named | None,
    namespace: str,
    here: str,
    kubeconfig: Path | None,
    context: str | None,
    interval: float,
    render: Callable[[Report], None],
) -> NoReturn:
    """Show the state now, and again after each read in which it differs; never return.

    On a terminal, each report replaces the one before. While the API server cannot be reached, the
    last report stays, with a message. Raises `FaultyManifests` if a request is rejected for good.
    """
    last: Report | None = None
    trouble = ""
    async with connected(kubeconfig, context) as server:
        while True:
            try:
                report = await survey(server, target, namespace, here)
            except ApiError as error:
                if error.status in FINAL:
                    raise
                said = f"{refusal(error)}; trying again every {interval:g} s"
                if said != trouble:
                    typer.echo(quoted(said), err=True)
                trouble = said
            else:
                if report != last or trouble:
                    _separate(first=last is None)
                    render(report)
                last, trouble = report, ""
            await asyncio.sleep(interval)


def _separate(*, first: bool) -> None:
    """Clear the terminal, or print an empty line between two reports."""
    screen = console()
    if screen.is_terminal:
        screen.control(Control.home(), Control.clear())
    elif not first:
        typer.echo("")
