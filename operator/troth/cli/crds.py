"""`troth crds`: CustomResourceDefinitions, generated from the models."""

from pathlib import Path
from typing import Annotated

import typer

from troth.cli.exit_codes import ExitCode
from troth.cli.output import Structured, StructuredOption, structured
from troth.resources.kinds import KINDS
from troth.resources.manifests import dump
from troth.resources.schema.crd import custom_resource_definition


def crds(
    write: Annotated[
        list[Path] | None,
        typer.Option("--write", help="Write one file for each kind to this folder instead."),
    ] = None,
    check: Annotated[
        list[Path] | None,
        typer.Option("--check", help="Fail if this folder differs from the generated files."),
    ] = None,
    output: StructuredOption = Structured.YAML,
) -> None:
    """Print the CustomResourceDefinitions: `troth crds | kubectl apply -f -`."""
    definitions = [custom_resource_definition(kind) for kind in KINDS]
    files = {
        f"{kind.plural}.yaml": dump(definition)
        for kind, definition in zip(KINDS, definitions, strict=True)
    }
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
