"""`troth audit-log`: verify the log of reviews."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from troth.cli.exit_codes import ExitCode
from troth.cli.inputs import sources
from troth.cli.inputs.single import fault
from troth.cli.inputs.targets import Cluster, parse_ref
from troth.cli.output import Output, OutputOption, console, structured

if TYPE_CHECKING:
    from troth.pki.bundles.spiffe_bundle import SPIFFEBundle
    from troth.resources.references import Ref
    from troth.review.trail.head import Head

app = typer.Typer(help="Verify the audit log of `troth review`.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keep `verify` a command of a group."""


@app.command("verify")
def verify(
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="-|FILE",
            show_default=False,
            help="Lines of the log, also among others: standard input, or files in their order.",
        ),
    ] = None,
    *,
    bundle: Annotated[
        list[Path] | None,
        typer.Option(
            help="Trusted roots: an events-bundle-map.json, or the folder with it. Repeatable, for "
            "copies of earlier times."
        ),
    ] = None,
    worker: Annotated[
        str | None,
        typer.Option(
            metavar="SPIFFE-ID", help="Worker that signed. Defaults to the first one that did."
        ),
    ] = None,
    head: Annotated[
        str | None,
        typer.Option(
            metavar="NAMESPACE/NAME|@FILE",
            help="ConfigMap with the head of the log, in the cluster or in a file; finds entries "
            "that are missing at the end.",
        ),
    ] = None,
    first: Annotated[
        int, typer.Option(min=1, help="Number of the first entry that must be there.")
    ] = 1,
    namespace: Annotated[
        str,
        typer.Option(
            "--namespace",
            "-n",
            help="Namespace whose bundle to trust, without --bundle. Defaults to the context's.",
        ),
    ] = "",
    output: OutputOption = Output.TEXT,
    kubeconfig: Cluster = None,
    context: sources.Context = None,
) -> None:
    """Verify hashes, signatures and order of the entries. Exit code 1 means a fault.

    Needs no private key. Certificates are verified at the times of the entries.
    """
    from troth.cli.audit_log import inputs, render  # noqa: PLC0415
    from troth.pki.errors import SPIFFEIDError  # noqa: PLC0415
    from troth.pki.spiffe import SPIFFEID  # noqa: PLC0415
    from troth.review.trail.verification import Verifier  # noqa: PLC0415

    if worker is not None:
        try:
            SPIFFEID.parse(worker)
        except SPIFFEIDError as error:
            raise fault("--worker", str(error)) from None
    of_cluster = _config_map(head)
    inputs.check(files or [])
    known = inputs.head(Path(head[1:])) if head is not None and of_cluster is None else None
    trusted = _bundles(bundle or [], namespace, kubeconfig, context)
    if of_cluster is not None:
        known = _head(of_cluster, kubeconfig, context)
    verifier = Verifier(trusted, worker=worker, first=first)
    for line, place in inputs.lines(files or ["-"]):
        verifier.take(line, place)
    report = verifier.report(known, "" if head is None else f"head {head.removeprefix('@')}")
    named = render.Named(worker=worker is not None, head=head is not None)
    if output is Output.TEXT:
        render.show(console(), console(wrap=False), report, named)
    else:
        typer.echo(structured(render.document(report, named), output), nl=False)
    raise typer.Exit(ExitCode.FINDINGS if report.faults else ExitCode.CLEAN)


def _bundles(
    given: list[Path], namespace: str, kubeconfig: Path | None, context: str | None
) -> "dict[str, SPIFFEBundle]":
    from troth.cli.audit_log import inputs  # noqa: PLC0415
    from troth.review.trail.verification import merged  # noqa: PLC0415

    if given:
        return merged(inputs.bundles(each) for each in given)
    from troth.cli.audit_log.cluster import trusted  # noqa: PLC0415

    return asyncio.run(trusted(kubeconfig, context, namespace))


def _config_map(head: str | None) -> "Ref | None":
    """Return the ConfigMap with the head; None if it is in a file, or not named."""
    if head is None or head.startswith("@"):
        return None
    return parse_ref(head, "--head", "write NAMESPACE/NAME of a ConfigMap, or @FILE")


def _head(place: "Ref", kubeconfig: Path | None, context: str | None) -> "Head":
    from troth.cli.audit_log.cluster import head  # noqa: PLC0415

    return asyncio.run(head(kubeconfig, context, place))
