"""Snapshot of a cluster for `plan`, `graph` and `grants`."""

from collections.abc import Container
from dataclasses import dataclass, field
from pathlib import Path

import typer

from troth.cli.inputs.access import FORBIDDEN, connected, refusal
from troth.cluster.errors import ApiError
from troth.reconcile.loop.informers import selections
from troth.resources.faults import FaultyManifests, ManifestFault
from troth.resources.manifests import Manifest


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The objects of a cluster, and the kinds that the user may not list."""

    objects: list[Manifest] = field(repr=False)
    hidden: frozenset[str]


async def read_cluster(
    kubeconfig: Path, context: str | None, own_namespace: str, kinds: Container[str] | None = None
) -> Snapshot:
    """Return the objects that Troth lists in a cluster, of all kinds or of these.

    Kinds that the user may not list are reported on standard error. Raises `FaultyManifests` if a
    request fails.
    """
    objects: list[Manifest] = []
    hidden: set[str] = set()
    async with connected(kubeconfig, context) as server:
        for selection in selections(own_namespace):
            if kinds is not None and selection.kind not in kinds:
                continue
            try:
                async for page in server.pages(selection):
                    objects += [{**item, "kind": selection.kind} for item in page["items"]]
            except ApiError as error:
                if error.status == FORBIDDEN:
                    hidden.add(selection.kind)
                    continue
                raise FaultyManifests(
                    [
                        ManifestFault(
                            str(kubeconfig),
                            "",
                            "",
                            f"cannot list {selection.kind}: {refusal(error)}",
                        )
                    ]
                ) from None
    for kind in sorted(hidden):
        typer.echo(f"{kind}: omitted, because you are not allowed to list it", err=True)
    return Snapshot(objects, frozenset(hidden))
