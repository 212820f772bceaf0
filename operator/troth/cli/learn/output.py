"""Writes drafts to standard output or to a folder."""

import json
from pathlib import Path
from typing import Any

import typer

from troth.audit.drafting.render import CLUSTER
from troth.resources.faults import FaultyManifests, ManifestFault

CLUSTER_FILE = "00-trust-domain.yaml"


def write(texts: dict[str, str], folder: Path | None) -> None:
    """Print the drafts, or write a file for each namespace; raises `FaultyManifests`.

    A file that exists is never changed, because somebody may have reviewed it.
    """
    if folder is None:
        typer.echo("---\n".join(texts.values()), nl=False)
        return
    files = {
        folder / (CLUSTER_FILE if place == CLUSTER else f"{place}.yaml"): text
        for place, text in texts.items()
    }
    if existing := sorted(str(each) for each in files if each.exists()):
        sentence = "exists already; move it, or name another folder with --output-dir"
        raise FaultyManifests([ManifestFault(each, "", "", sentence) for each in existing])
    folder.mkdir(parents=True, exist_ok=True)
    for file, text in files.items():
        file.write_text(text, encoding="utf-8")
        typer.echo(f"wrote {file}", err=True)


def write_json(file: Path, document: dict[str, Any]) -> None:
    """Write a JSON document."""
    file.write_text(f"{json.dumps(document, indent=1)}\n", encoding="utf-8")
