"""Declared resources for read-only commands: from manifests, a cluster, or both."""

import asyncio
from collections.abc import Container, Iterable
from pathlib import Path

import typer

from troth.cli.inputs import sources
from troth.cli.inputs.namespaces import OWN_NAMESPACE
from troth.world.world import World


def declared(
    files: Iterable[Path] | None,
    kubeconfig: Path | None,
    context: str | None,
    kinds: Container[str],
) -> World:
    """Return the objects of a cluster of these kinds, overridden by manifests in files.

    Manifests that name no namespace are in that of the kubeconfig's context, as with kubectl.
    """
    world, namespace = World(OWN_NAMESPACE), "default"
    if kubeconfig is not None:
        from troth.cli.inputs.access import home  # noqa: PLC0415
        from troth.cli.inputs.snapshot import read_cluster  # noqa: PLC0415

        namespace = home(kubeconfig, context)
        snapshot = asyncio.run(read_cluster(kubeconfig, context, OWN_NAMESPACE, kinds))
        for manifest in snapshot.objects:
            world.observe(manifest, uptime=0.0)
    elif not files:
        raise typer.BadParameter("no input; name manifests with -f, or a cluster with --kubeconfig")
    else:
        for manifest in sources.initial_objects():
            world.observe(manifest, uptime=0.0)
    for manifest in sources.read(files or [], namespace).objects:
        world.observe(manifest, uptime=0.0)
    return world
