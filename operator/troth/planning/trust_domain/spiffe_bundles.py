"""SPIFFE bundles: a trust domain's roots and token keys in one document for verifiers.

Each bundle ConfigMap holds, beside the PEM, `bundle.json` with the domain's own bundle, and
`bundle-map.json`, which also has the bundles of the domains it federates with. A second bundle map
verifies events only: there the domain's own bundle also has retired roots and token keys,
each with the time of its retirement.
"""

from functools import lru_cache
from typing import Any

from pydantic_core import to_json

from troth.documents.event_bundles import FILE as EVENTS_BUNDLE_MAP
from troth.pki.bundles.spiffe_bundle import bundle_document, bundle_map_document, parse_bundle_map
from troth.pki.errors import PKIError
from troth.planning.certificates.anchors import confined, federated, own_anchors
from troth.planning.moment import Moment
from troth.planning.owned_objects import is_child
from troth.planning.trust_domain.retired import keys_for_events, roots_for_events
from troth.resources.trust_domain.spec import TrustDomain
from troth.world.facts.objects import RetiredKey, RetiredRoot, TokenKey
from troth.world.observation.objects import BUNDLE, BUNDLE_MAP
from troth.world.world import World


def bundle_files(domain: TrustDomain, world: World, moment: Moment) -> dict[str, str]:
    """Return the SPIFFE bundles for a domain's namespaces, by file name.

    As in the PEM, a federated domain's bundle has only the roots that are confined to it. It always
    has the domain's token keys, because a key verifies only tokens of its own trust domain.
    """
    own = _document(own_anchors(domain, world), token_keys(domain, world))
    bundles = {domain.spec.domain: own}
    for other in federated(domain, world):
        anchors, keys = confined(other, world), token_keys(other, world)
        if anchors or keys:
            bundles[other.spec.domain] = _document(anchors, keys)
    for_events = {**bundles, domain.spec.domain: _with_retired(domain, world, moment)}
    return {
        BUNDLE: _text(own),
        BUNDLE_MAP: _text(bundle_map_document(bundles)),
        EVENTS_BUNDLE_MAP: _text(bundle_map_document(for_events)),
    }


def bundle_file(domain: TrustDomain, world: World) -> str:
    """Return the domain's own SPIFFE bundle, which its issuer serves."""
    return _text(_document(own_anchors(domain, world), token_keys(domain, world)))


def _with_retired(domain: TrustDomain, world: World, moment: Moment) -> dict[str, Any]:
    """Return the domain's own bundle for events."""
    anchors, keys = own_anchors(domain, world), token_keys(domain, world)
    roots = roots_for_events(domain, world, moment)
    return _document(anchors, keys, roots, keys_for_events(domain, world, moment))


def token_keys(domain: TrustDomain, world: World) -> tuple[TokenKey, ...]:
    """Return the token keys of a domain that verifiers must know."""
    known = world.tokens.of(domain)
    if domain.spec.tokens is None or known is None or not is_child(known, domain):
        return ()
    return known.keys


@lru_cache(maxsize=256)
def key_ids_in(bundle_map: str, trust_domain: str) -> frozenset[str]:
    """Return the key IDs of a trust domain in a bundle map, none if it cannot be read."""
    try:
        bundle = parse_bundle_map(bundle_map).get(trust_domain)
    except PKIError:
        return frozenset()
    return frozenset(bundle.jwt_keys) if bundle else frozenset()


@lru_cache(maxsize=256)
def _document(
    anchors: tuple[bytes, ...],
    keys: tuple[TokenKey, ...],
    retired_roots: tuple[RetiredRoot, ...] = (),
    retired_keys: tuple[RetiredKey, ...] = (),
) -> dict[str, Any]:
    return bundle_document(
        anchors,
        [key.jwk for key in keys],
        retired_authorities=[
            (anchor, each.retired_at) for each in retired_roots for anchor in each.anchors
        ],
        retired_keys=[(each.key.jwk, each.retired_at) for each in retired_keys],
    )


def _text(document: dict[str, Any]) -> str:
    return to_json(document).decode() + "\n"
