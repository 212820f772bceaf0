"""`troth crds`: CustomResourceDefinitions, generated from the models."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from troth.cli.exit_codes import ExitCode
from troth.cli.inputs import sources
from troth.cli.inputs.targets import Cluster
from troth.cli.output import Structured, StructuredOption, structured
from troth.resources.kinds import EVERY_KIND
from troth.resources.manifests import Manifest, dump
from troth.resources.schema.crd import custom_resource_definition


def crds(
    *,
    write: Annotated[
        list[Path] | None,
        typer.Option("--write", help="Write one file for each kind to this folder instead."),
    ] = None,
    check: Annotated[
        list[Path] | None,
        typer.Option("--check", help="Fail if this folder differs from the generated files."),
    ] = None,
    apply: Annotated[
        bool, typer.Option("--apply", help="Apply them to the cluster instead.")
    ] = False,
    output: StructuredOption = Structured.YAML,
    kubeconfig: Cluster = None,
    context: sources.Context = None,
) -> None:
    """Print the CustomResourceDefinitions: `troth crds | kubectl apply --server-side -f -`."""
    definitions = [custom_resource_definition(kind) for kind in EVERY_KIND]
    if apply:
        asyncio.run(_apply(definitions, kubeconfig, context))
        return
    files = {f"{each['spec']['names']['plural']}.yaml": dump(each) for each in definitions}
    for folder in write or []:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name).write_text(text)
    for folder in check or []:
        there = {path.name: path.read_text() for path in folder.glob("*.yaml")}
        if there != files:
            typer.echo(f"{folder} differs from the generated files; run make crds", err=True)
            raise typer.Exit(ExitCode.FINDINGS)
    if not write and not check:
        if output is Structured.JSON:
            listed = {"apiVersion": "v1", "kind": "List", "items": definitions}
            typer.echo(structured(listed, output), nl=False)
        else:
            typer.echo("---\n".join(files.values()), nl=False)


async def _apply(definitions: list[Manifest], kubeconfig: Path | None, context: str | None) -> None:
    """Apply definitions server-side; they replace the versions that the cluster has.

    Raises `FaultyManifests` if the API server cannot be reached or rejects one.
    """
    from troth.cli.inputs.access import connected  # noqa: PLC0415

    async with connected(kubeconfig, context) as server:
        for each in definitions:
            await server.apply(each)
            typer.echo(f"customresourcedefinition/{each['metadata']['name']} applied")
