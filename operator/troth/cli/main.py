"""The `troth` command, which kubectl also runs as `kubectl troth`."""

import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from troth.cli import crds, graph, ready
from troth.cli.backup import command as backup
from troth.cli.check import command as check
from troth.cli.errors import report
from troth.cli.exit_codes import ExitCode
from troth.cli.gateway import command as gateway
from troth.cli.grants import command as grants
from troth.cli.issue import command as issue
from troth.cli.plan import command as plan
from troth.cli.rotate import command as rotate
from troth.cli.run import command as run
from troth.cli.status import command as status
from troth.cli.token import command as token
from troth.cli.webhook import command as webhook

PLUGIN = "kubectl-troth"
"""Name of the command as a plugin of kubectl."""

app = typer.Typer(
    name="troth",
    help="Declare which services trust each other; Troth enforces it and denies the rest.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("run")(run.run)
app.command("issue")(issue.issue)
app.command("gateway")(gateway.gateway)
app.command("check")(check.check)
app.command("plan")(plan.plan)
app.command("graph")(graph.graph)
app.command("grants")(grants.grants)
app.command("status")(status.status)
app.command("rotate")(rotate.rotate)
app.add_typer(token.app, name="token")
app.add_typer(webhook.app, name="webhook")
app.command("backup")(backup.backup)
app.command("restore")(backup.restore)
app.command("crds")(crds.crds)
app.command("ready")(ready.ready)


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - typer's callback
    if wanted:
        from importlib.metadata import version  # noqa: PLC0415

        typer.echo(f"troth {version('troth')}")
        raise typer.Exit


@app.callback()
def _main(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    del version  # its callback has ended the command


def main() -> NoReturn:
    """Run the command and end with an `ExitCode`; no error is printed as a traceback."""
    plugin = Path(sys.argv[0]).stem == PLUGIN
    try:
        app(prog_name="kubectl troth" if plugin else "troth", complete_var="_TROTH_COMPLETE")
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "troth":
            sys.exit(report(error))
        raise  # `entry` says which extra to install
    except Exception as error:  # noqa: BLE001 - any error becomes a line and an exit code
        sys.exit(report(error))
    sys.exit(ExitCode.CLEAN)
