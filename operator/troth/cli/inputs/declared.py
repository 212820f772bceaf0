"""Declared resources for read-only commands: from manifests, a cluster, or both."""

import asyncio
from collections.abc import Container, Iterable
from pathlib import Path

import typer

from troth.cli.inputs import sources
from troth.cli.inputs.namespaces import OWN_NAMESPACE
from troth.cli.inputs.watched import watched_by
from troth.resources.manifests import Manifest
from troth.resources.references import Ref
from troth.trust.declarations.registry import Registry
from troth.trust.declarations.watched import Watched
from troth.world.world import World


def declared(
    files: Iterable[Path] | None,
    kubeconfig: Path | None,
    context: str | None,
    kinds: Container[str],
    watched_namespaces: str,
) -> World:
    """Return the objects of a cluster of these kinds, overridden by manifests in files.

    Manifests that name no namespace are in that of the kubeconfig's context, as with kubectl.
    """
    namespace = "default"
    if kubeconfig is not None:
        from troth.cli.inputs.access import home  # noqa: PLC0415
        from troth.cli.inputs.snapshot import read_cluster  # noqa: PLC0415

        namespace = home(kubeconfig, context)
        before = asyncio.run(read_cluster(kubeconfig, context, OWN_NAMESPACE, kinds)).objects
    elif not files:
        raise typer.BadParameter("no input; name manifests with -f, or a cluster with --kubeconfig")
    else:
        before = sources.initial_objects()
    watched = watched_by(watched_namespaces, before, OWN_NAMESPACE)
    manifests = sources.read(files or [], namespace).objects
    return observed([*before, *manifests], watched, OWN_NAMESPACE)


def observed(objects: Iterable[Manifest], watched: Watched, own_namespace: str) -> World:
    """Return what an operator knows of objects if it watches these namespaces."""
    world = World(own_namespace, Registry(watched))
    for manifest in objects:
        if watched.reads(Ref.of(manifest).namespace):
            world.observe(manifest, uptime=0.0)
    return world
