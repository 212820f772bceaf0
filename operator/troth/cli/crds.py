"""`troth crds`: CustomResourceDefinitions, generated from the models."""

from pathlib import Path
from typing import Annotated

import typer

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
) -> None:
    """Print the CustomResourceDefinitions: `troth crds | kubectl apply -f -`."""
    files = {f"{kind.plural}.yaml": dump(custom_resource_definition(kind)) for kind in KINDS}
    for folder in write or []:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name).write_text(text)
    for folder in check or []:
        there = {path.name: path.read_text() for path in folder.glob("*.yaml")}
        if there != files:
            typer.echo(f"{folder} differs from the generated files; run make crds", err=True)
            raise typer.Exit(1)
    if not write and not check:
        typer.echo("---\n".join(files.values()), nl=False)
