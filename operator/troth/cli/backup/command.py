"""`troth backup` and `troth restore`."""

import asyncio
import json
import os
import stat
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from troth.cli.exit_codes import ExitCode
from troth.cli.inputs import sources
from troth.cli.inputs.targets import Cluster
from troth.cli.output import (
    Output,
    OutputOption,
    Structured,
    StructuredOption,
    console,
    structured,
)
from troth.cli.quoting import quoted
from troth.resources.faults import FaultyManifests, ManifestFault

OTHERS = stat.S_IRWXG | stat.S_IRWXO


def backup(
    *,
    write: Annotated[
        Path | None,
        typer.Option(
            "--write", help="Write to this new file, which only you can read, instead of printing."
        ),
    ] = None,
    output: StructuredOption = Structured.JSON,
    kubeconfig: Cluster = None,
    context: sources.Context = None,
) -> None:
    """Print all of Troth's resources with their statuses, and the objects that Troth wrote.

    The output contains the PRIVATE KEYS of roots, tokens, webhooks and services, and broker
    credentials: a reader can act as any service. Encrypt it, for example with
    `troth backup | age -r RECIPIENT > backup.age`. The command does not print it on a terminal or
    into a file that others can read.
    """
    from troth.cli.backup.collect import collected  # noqa: PLC0415

    if write is None:
        _refuse_readable_output()
    manifests = asyncio.run(collected(kubeconfig, context))
    text = _text(manifests, output)
    if write is None:
        typer.echo(text, nl=False)
        return
    # O_EXCL: an existing file could be readable by others, or a link to another place
    descriptor = os.open(write, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    typer.echo(f"{len(manifests)} objects written to {write}; it contains private keys", err=True)


def _refuse_readable_output() -> None:
    """Raise `FaultyManifests` if standard output is a terminal or a file that others can read."""
    try:
        mode = os.fstat(sys.stdout.fileno()).st_mode
    except (OSError, ValueError):  # not a file of the operating system
        return
    if sys.stdout.isatty():
        sentence = "the backup contains private keys; use --write FILE, or pipe it to a program"
    elif stat.S_ISREG(mode) and mode & OTHERS:
        sentence = (
            "others can read the file, and the backup contains private keys; use --write FILE, "
            "or run `umask 077` before it is created"
        )
    else:
        return
    raise FaultyManifests([ManifestFault("<stdout>", "", "", sentence)])


def restore(
    files: Annotated[
        list[Path],
        typer.Option(
            "--filename",
            "-f",
            metavar="FILE|-",
            help="Output of `troth backup`, or - for standard input; repeatable.",
        ),
    ],
    *,
    own_namespace: Annotated[
        str | None,
        typer.Option(
            help="Namespace that Troth runs in. Leases in all other namespaces are then ignored."
        ),
    ] = None,
    output: OutputOption = Output.TEXT,
    kubeconfig: Cluster = None,
    context: sources.Context = None,
) -> None:
    """Create what a backup has and the cluster lacks, while no operator runs.

    Owned objects are given to the owners that exist now, and statuses keep what Troth remembers.
    What exists already is not changed. Exit code 1 means that something exists with other content,
    or has lost its owner.
    """
    from troth.cli.backup.file import read  # noqa: PLC0415
    from troth.cli.backup.restoring import restored  # noqa: PLC0415

    manifests = read(files)
    report = asyncio.run(restored(manifests, kubeconfig, context, own_namespace))
    if output is Output.TEXT:
        shown = console(wrap=False)
        for line in report.findings:
            shown.print(quoted(line), markup=False)
        shown.print(f"{report.created} objects restored, {report.kept} existed already")
    else:
        document = {
            "restored": report.created,
            "existing": report.kept,
            "findings": report.findings,
        }
        typer.echo(structured(document, output), nl=False)
    if report.findings:
        raise typer.Exit(ExitCode.FINDINGS)


def _text(manifests: list[dict[str, Any]], output: Structured) -> str:
    """Return a list of objects; as JSON with one object in a line."""
    if output is Structured.YAML:
        return structured({"apiVersion": "v1", "kind": "List", "items": manifests}, output)
    items = ",\n".join(json.dumps(each, ensure_ascii=False) for each in manifests)
    return f'{{"apiVersion":"v1","kind":"List","items":[\n{items}\n]}}\n'
