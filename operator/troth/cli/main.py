"""The `troth` command."""

import sys
from typing import NoReturn

import typer
from rich.console import Console

from troth.cli import crds, graph, ready
from troth.cli.gateway import command as gateway
from troth.cli.grants import command as grants
from troth.cli.issue import command as issue
from troth.cli.plan import command as plan
from troth.cli.rotate import command as rotate
from troth.cli.run import command as run
from troth.cli.status import command as status
from troth.cli.token import command as token
from troth.cli.webhook import command as webhook
from troth.resources.manifests import FaultyManifests

app = typer.Typer(
    name="troth",
    help="Declare which services trust each other; Troth enforces it and denies the rest.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("run")(run.run)
app.command("issue")(issue.issue)
app.command("gateway")(gateway.gateway)
app.command("plan")(plan.plan)
app.command("graph")(graph.graph)
app.command("grants")(grants.grants)
app.command("status")(status.status)
app.command("rotate")(rotate.rotate)
app.add_typer(token.app, name="token")
app.add_typer(webhook.app, name="webhook")
app.command("crds")(crds.crds)
app.command("ready")(ready.ready)


def main() -> NoReturn:
    """Run the command; print each error in the input as one line, without a traceback."""
    try:
        app()
    except FaultyManifests as error:
        console = Console(stderr=True, highlight=False)
        for fault in error.faults:
            console.print(str(fault), style="red", markup=False, soft_wrap=True)
    sys.exit(1)
