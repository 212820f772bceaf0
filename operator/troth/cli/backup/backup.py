"""`troth backup`: print what a cluster needs to be restored, private keys included."""

import asyncio
import json
import os
import stat
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from troth.cli.backup.portable import (
    DECLARED,
    OWNED,
    OWNED_BY_TROTH,
    Manifest,
    namespaces_of,
    portable,
)
from troth.cli.inputs import sources
from troth.cli.inputs.targets import Cluster
from troth.cli.output import Structured, StructuredOption, structured
from troth.resources.faults import FaultyManifests, ManifestFault

if TYPE_CHECKING:
    from troth.cli.inputs.access import PersonalServer

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
    credentials: whoever has it can be any service. Encrypt it, for example with
    `troth backup | age -r RECIPIENT > backup.age`. It is not printed on a terminal or into a file
    that others can read.
    """
    if write is None:
        _refuse_readable_output()
    manifests = asyncio.run(_collected(kubeconfig, context))
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


async def _collected(kubeconfig: Path | None, context: str | None) -> list[Manifest]:
    from troth.cli.inputs.access import connected  # noqa: PLC0415

    async with connected(kubeconfig, context) as server:
        found = [each async for each in stored(server)]
        held = namespaces_of(found)
        spaces = [
            each for each in await server.listed("Namespace") if each["metadata"]["name"] in held
        ]
    return [portable(each) for each in (*spaces, *found)]


async def stored(server: "PersonalServer") -> AsyncIterator[Manifest]:
    """Yield all of Troth's resources and owned objects of a cluster.

    The list of one kind is consistent. Raises `FaultyManifests` if the CRDs are not installed.
    """
    from troth.cli.inputs.access import NOT_FOUND  # noqa: PLC0415
    from troth.cluster.errors import ApiError  # noqa: PLC0415

    for kind in DECLARED:
        try:
            resources = await server.listed(kind)
        except ApiError as error:
            if error.status != NOT_FOUND:
                raise
            sentence = f"the API server does not serve {kind}; run `troth crds --apply` first"
            raise FaultyManifests([ManifestFault("API server", "", "", sentence)]) from None
        for each in resources:
            yield each
    for kind in OWNED:
        for each in await server.listed(kind, labels=OWNED_BY_TROTH):
            yield each


def _text(manifests: list[Manifest], output: Structured) -> str:
    """Return a list of objects; as JSON with one object in a line."""
    if output is Structured.YAML:
        return structured({"apiVersion": "v1", "kind": "List", "items": manifests}, output)
    items = ",\n".join(json.dumps(each, ensure_ascii=False) for each in manifests)
    return f'{{"apiVersion":"v1","kind":"List","items":[\n{items}\n]}}\n'
