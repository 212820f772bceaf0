"""Reads bundles and the head for `troth audit-log verify` from a cluster."""

from pathlib import Path

from troth.cli.inputs.access import NOT_FOUND, connected, home
from troth.cli.inputs.single import fault
from troth.cli.token.cluster import bundles_in
from troth.cluster.errors import ApiError
from troth.documents.event_bundles import FILE as EVENTS_BUNDLE_MAP
from troth.pki.bundles.spiffe_bundle import SPIFFEBundle
from troth.resources.references import Ref
from troth.review.trail.head import Head, HeadError, parse


async def trusted(
    kubeconfig: Path | None, context: str | None, namespace: str
) -> dict[str, SPIFFEBundle]:
    """Return the bundles for events of a namespace, of the context's if it is empty.

    Raises `FaultyManifests` if it has none.
    """
    place = namespace or home(kubeconfig, context)
    async with connected(kubeconfig, context) as server:
        return await bundles_in(server, place, EVENTS_BUNDLE_MAP)


async def head(kubeconfig: Path | None, context: str | None, ref: Ref) -> Head:
    """Return the head in a ConfigMap; raises `FaultyManifests` if there is none."""
    async with connected(kubeconfig, context) as server:
        try:
            return parse(await server.get("ConfigMap", ref))
        except HeadError as error:
            raise fault(f"ConfigMap {ref}", str(error)) from None
        except ApiError as error:
            if error.status != NOT_FOUND:
                raise
    sentence = "does not exist, so nothing says where the log ends; see docs/audit-log.md"
    raise fault(f"ConfigMap {ref}", sentence)
