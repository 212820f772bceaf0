"""Reads what a backup has from a cluster."""

from collections.abc import AsyncIterator
from pathlib import Path

from troth.cli.backup.portable import (
    DECLARED,
    OWNED,
    OWNED_BY_TROTH,
    Manifest,
    namespaces_of,
    portable,
)
from troth.cli.inputs.access import NOT_FOUND, PersonalServer, connected
from troth.cluster.errors import ApiError
from troth.resources.faults import FaultyManifests, ManifestFault


async def collected(kubeconfig: Path | None, context: str | None) -> list[Manifest]:
    """Return all objects of a backup, as it has them; raises `FaultyManifests`."""
    async with connected(kubeconfig, context) as server:
        found = [each async for each in stored(server)]
        held = namespaces_of(found)
        spaces = [
            each for each in await server.listed("Namespace") if each["metadata"]["name"] in held
        ]
    return [portable(each) for each in (*spaces, *found)]


async def stored(server: PersonalServer) -> AsyncIterator[Manifest]:
    """Yield all of Troth's resources and owned objects of a cluster.

    The list of one kind is consistent. Raises `FaultyManifests` if the CRDs are not installed.
    """
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
