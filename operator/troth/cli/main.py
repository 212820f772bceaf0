"""The `troth` command, which kubectl also runs as `kubectl troth`."""

import sys
import threading
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from troth.cli.exit_codes import ExitCode
from troth.cli.lazy_group import Entry, LazyGroup
from troth.world.origin import origin

PLUGIN = "kubectl-troth"
"""Name of the command as a plugin of kubectl."""

COMMANDS = (
    Entry("run", "run.command:run", "Run the operator until it is stopped."),
    Entry("issue", "issue.command:issue", "Run the token issuer until it is stopped."),
    Entry("gateway", "gateway.command:gateway", "Run the webhook gateway until it is stopped."),
    Entry(
        "auditor",
        "auditor.command:auditor",
        "Evaluate the rules of `troth audit` until stopped, and write reports and statuses.",
    ),
    Entry(
        "review",
        "review.command:review",
        "Carry out reviews of dead letters until it is stopped.",
    ),
    Entry(
        "agent",
        "agent.command:agent",
        "Print which connections a node has, as JSON lines, until it is stopped.",
    ),
    Entry(
        "learn",
        "learn.command:learn",
        "Draft ServiceIdentities for workloads that have none, with the edges that something "
        "shows.",
    ),
    Entry(
        "check",
        "check.command:check",
        "Check manifests without applying them, and say what is wrong in which line.",
    ),
    Entry(
        "audit",
        "audit.command:audit",
        "Find anti-patterns in manifests and clusters, with evidence and a way out of each.",
    ),
    Entry("plan", "plan.command:plan", "Show what applying these manifests would change."),
    Entry("graph", "graph:graph", "Draw the declared edges and broker grants with their states."),
    Entry(
        "grants",
        "grants.command:grants",
        "List which identities may publish and consume, and what to change for those that may not.",
    ),
    Entry(
        "status",
        "status.command:status",
        "Show what is live, half-declared, rejected, drifting and expiring next in the cluster.",
    ),
    Entry(
        "rotate",
        "rotate.command:rotate",
        "Rotate the credential of a ServiceIdentity, TrustDomain, MessageBroker or "
        "WebhookEndpoint.",
    ),
    Entry(
        "prove",
        "prove.command:prove",
        "Prove with probes that declared edges, and only those, are open.",
    ),
    Entry(
        "probe",
        "probe.command:probe",
        "Make the probes that the variable TROTH_PROBES describes; `troth prove` starts such pods.",
    ),
    Entry(
        "backup",
        "backup.command:backup",
        "Print all of Troth's resources with their statuses, and the objects that Troth wrote.",
    ),
    Entry(
        "restore",
        "backup.command:restore",
        "Create what a backup has and the cluster lacks, while no operator runs.",
    ),
    Entry(
        "crds",
        "crds:crds",
        "Print the CustomResourceDefinitions: `troth crds | kubectl apply --server-side -f -`.",
    ),
    Entry(
        "ready",
        "ready:ready",
        "Check that the API server serves Troth's resources, and that an operator leads.",
    ),
    Entry(
        "token",
        "token.command:app",
        "Inspect signed tokens, verify them, and explain their scopes.",
    ),
    Entry(
        "webhook",
        "webhook.command:app",
        "Debug one webhook delivery: verify it check by check, or sign it as its sender would.",
    ),
    Entry(
        "event",
        "event.command:app",
        "Seal an event as its producer would, open one as its consumer would, and read a topic.",
    ),
    Entry("audit-log", "audit_log.command:app", "Verify the audit log of `troth review`."),
    Entry(
        "deadletters",
        "deadletters.command:app",
        "List dead letters, look at one, and request, approve or end reviews of them.",
    ),
)
"""The commands, in the order of the help."""


class _Group(LazyGroup):
    entries = COMMANDS


app = typer.Typer(
    name="troth",
    cls=_Group,
    help="Declare which services trust each other; Troth enforces it and denies the rest.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


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


def _report(error: Exception) -> ExitCode:
    from troth.cli.errors import report  # noqa: PLC0415 - it imports what can only fail later

    return report(error)


def _report_unraised(failed: "sys.UnraisableHookArgs | threading.ExceptHookArgs") -> None:
    """Print where an exception was raised that no code can catch, without its text."""
    if failed.exc_value is not None:
        print(f"error in the background: {origin(failed.exc_value)}", file=sys.stderr)  # noqa: T201


def main() -> NoReturn:
    """Run the command and end with an `ExitCode`; no error is printed as a traceback."""
    sys.unraisablehook = threading.excepthook = _report_unraised
    plugin = Path(sys.argv[0]).stem == PLUGIN
    try:
        app(prog_name="kubectl troth" if plugin else "troth", complete_var="_TROTH_COMPLETE")
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "troth":
            sys.exit(_report(error))
        raise  # `entry` says which extra to install
    except Exception as error:  # noqa: BLE001 - any error becomes a line and an exit code
        sys.exit(_report(error))
    sys.exit(ExitCode.CLEAN)
