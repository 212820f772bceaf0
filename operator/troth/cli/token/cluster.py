"""Reads the input of `troth token` from a cluster, with the user's own rights."""

from dataclasses import dataclass
from pathlib import Path

from troth.cli.inputs.access import PersonalServer, connected, home
from troth.cluster.selection import Selection
from troth.pki.bundles.spiffe_bundle import SPIFFEBundle, parse_bundle_map
from troth.pki.errors import PKIError
from troth.planning.network.issuers import issuer_url
from troth.resources.faults import FaultyManifests, ManifestFault
from troth.resources.manifests import Manifest
from troth.world.world import World

DECLARED = ("TrustDomain", "ServiceIdentity", "Namespace")
BUNDLE_MAP = "bundle-map.json"
_OURS = "app.kubernetes.io/managed-by=troth"


@dataclass(frozen=True, slots=True)
class Trusted:
    """The bundles and issuers that a namespace trusts, by trust domain."""

    bundles: dict[str, SPIFFEBundle]
    issuers: dict[str, str]


async def declared(kubeconfig: Path | None, context: str | None) -> list[Manifest]:
    """Return all objects that determine edges and scopes."""
    async with connected(kubeconfig, context) as server:
        return [each for kind in DECLARED for each in await server.listed(kind)]


async def trusted(
    kubeconfig: Path | None, context: str | None, namespace: str | None, own_namespace: str | None
) -> Trusted:
    """Return the bundles of a namespace and the issuers of all trust domains.

    An empty namespace means the context's; with None no bundle is read. `own_namespace` is the one
    Troth runs in; with None no issuer is read. Raises `FaultyManifests` if the namespace has no
    bundle.
    """
    place = namespace if namespace is None else namespace or home(kubeconfig, context)
    async with connected(kubeconfig, context) as server:
        bundles = {} if place is None else await bundles_in(server, place)
        return Trusted(bundles, await _issuers(server, own_namespace) if own_namespace else {})


async def bundles_in(
    server: PersonalServer, namespace: str, key: str = BUNDLE_MAP
) -> dict[str, SPIFFEBundle]:
    """Return the bundles in a namespace. `key` is that of the ConfigMap that has them.

    Raises `FaultyManifests` if there are none.
    """
    found: dict[str, str] = {}
    async for page in server.pages(Selection("ConfigMap", namespace, labels=_OURS)):
        for item in page["items"]:
            text = (item.get("data") or {}).get(key)
            if isinstance(text, str):
                found[str(item["metadata"]["name"])] = text
    # The label proves nothing: anyone who may write ConfigMaps there can set it.
    if len({*found.values()}) > 1:
        sentence = f"{' and '.join(found)} have different keys; name a bundle file with --bundle"
        raise FaultyManifests([ManifestFault("", f"Namespace {namespace}", key, sentence)])
    for name, text in found.items():
        return _parsed(text, f"ConfigMap {namespace}/{name}", key)
    sentence = (
        f"no ConfigMap of Troth there has {key}; name a namespace of a TrustDomain with "
        "--namespace, or a bundle file with --bundle"
    )
    raise FaultyManifests([ManifestFault("", f"Namespace {namespace}", "", sentence)])


def _parsed(text: str, place: str, key: str) -> dict[str, SPIFFEBundle]:
    try:
        return parse_bundle_map(text)
    except PKIError as error:
        raise FaultyManifests([ManifestFault("", place, key, str(error))]) from None


async def _issuers(server: PersonalServer, own_namespace: str) -> dict[str, str]:
    world = World(own_namespace)
    for manifest in await server.listed("TrustDomain"):
        world.observe(manifest, uptime=0.0)
    return {
        domain.spec.domain: issuer_url(domain, own_namespace)
        for domain in world.registry.domains.values()
        if domain.spec.tokens is not None
    }
