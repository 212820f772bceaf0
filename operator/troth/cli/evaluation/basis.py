"""Input of `troth check` and `troth plan`: manifests, and the state they are applied to."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from troth.cli.evaluation.finding import is_unreadable
from troth.cli.inputs import sources
from troth.cli.inputs.files import STDIN
from troth.cli.inputs.sources import Manifests
from troth.cli.inputs.watched import watched_by
from troth.resources.faults import FaultyManifests
from troth.resources.manifests import Manifest
from troth.resources.metadata import GROUP
from troth.trust.declarations.watched import EVERYWHERE, Watched

Namespace = Annotated[
    str,
    typer.Option(
        "--namespace",
        "-n",
        help="Namespace of manifests that name none. Defaults to the kubeconfig context's.",
    ),
]
Assumed = Annotated[
    list[Path] | None,
    typer.Option(
        "--assume",
        metavar="FILE|DIR",
        help="Manifests of objects that exist already, such as those of other teams; repeatable.",
    ),
]
AssumedNamespaces = Annotated[
    list[str] | None,
    typer.Option(
        "--assume-namespace",
        metavar="NAME[,LABEL=VALUE…]",
        help="Namespace that exists already, with its labels; repeatable.",
    ),
]
Against = Annotated[
    list[Path] | None,
    typer.Option(
        "--against",
        metavar="FILE|DIR|-",
        help="Manifests before the change. Findings say which message schemas became incompatible "
        "with them; repeatable.",
    ),
]


@dataclass(frozen=True, slots=True)
class Basis:
    """Manifests to apply, and the objects to which they are applied."""

    manifests: Manifests
    before: list[Manifest] = field(repr=False)
    """The objects of a cluster, or those of an empty cluster and the assumed ones."""
    own_namespace: str
    hidden: frozenset[str] = frozenset()
    """Kinds that the user may not list."""
    cluster: bool = False
    """Whether `before` was read from a cluster."""
    watched: Watched = EVERYWHERE
    """Namespaces that Troth watches. It reads nothing in others."""
    against: list[Manifest] = field(default_factory=list, repr=False)
    """Manifests whose schemas of messages are compared, in place of those in `before`."""


def gather(
    files: Sequence[Path] | None,
    *,
    namespace: str,
    own_namespace: str,
    assume: Sequence[Path] | None = None,
    assume_namespace: Sequence[str] | None = None,
    kubeconfig: Path | None = None,
    context: str | None = None,
    watched_namespaces: str = "",
    against: Sequence[Path] | None = None,
) -> Basis:
    """Return the input that options describe; faults of the manifests are in it.

    Raises `FaultyManifests` if an assumed manifest is faulty or the cluster cannot be read, and
    `typer.BadParameter` if no files are named, or standard input twice.
    """
    if not files:
        raise typer.BadParameter("no input; name manifests with -f, or -f - for standard input")
    if STDIN in files and STDIN in (against or ()):
        raise typer.BadParameter("-f and --against both name standard input; name a file or folder")
    before, hidden = sources.initial_objects(), frozenset[str]()
    if kubeconfig is not None:
        from troth.cli.inputs.access import home  # noqa: PLC0415
        from troth.cli.inputs.snapshot import read_cluster  # noqa: PLC0415

        namespace = namespace or home(kubeconfig, context)
        snapshot = asyncio.run(read_cluster(kubeconfig, context, own_namespace))
        before, hidden = snapshot.objects, snapshot.hidden
    manifests = sources.collect(files, namespace or "default")
    if namespace:
        manifests.without_namespace.clear()
    assumed = sources.read(assume or (), namespace or "default").objects
    assumed += [_namespace(text) for text in assume_namespace or ()]
    if kubeconfig is None:
        before.append(_namespace(own_namespace))  # Troth runs in it
    return Basis(
        manifests,
        [*before, *assumed],
        own_namespace,
        hidden,
        cluster=kubeconfig is not None,
        watched=watched_by(watched_namespaces, before, own_namespace),
        against=_earlier(against or (), namespace or "default"),
    )


def _earlier(files: Sequence[Path], namespace: str) -> list[Manifest]:
    """Return manifests of an earlier version; only their schemas are read.

    Raises `FaultyManifests` for input that is not made of Kubernetes objects.
    """
    found = sources.collect(files, namespace)
    if is_unreadable(found.faults):
        raise FaultyManifests(found.faults)
    return found.objects


def _namespace(text: str) -> Manifest:
    """Parse `NAME,LABEL=VALUE,…`."""
    name, *labels = text.split(",")
    pairs = [each.partition("=") for each in labels]
    if not name or not all(key and equals for key, equals, _ in pairs):
        raise typer.BadParameter(
            f"{text!r} is not NAME,LABEL=VALUE, such as shop,environment=production",
            param_hint="--assume-namespace",
        )
    metadata = {"name": name, "labels": {key: value for key, _, value in pairs}}
    metadata = sources.namespace_metadata(metadata)
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


def is_declared(manifest: Manifest) -> bool:
    """Return whether a manifest is of one of Troth's kinds."""
    return str(manifest.get("apiVersion", "")).startswith(f"{GROUP}/")
