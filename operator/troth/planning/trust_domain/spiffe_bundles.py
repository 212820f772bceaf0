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
from troth.planning.trust_domain.facts import DomainView
from troth.planning.trust_domain.retired import keys_for_events, roots_for_events
from troth.world.facts.objects import RetiredKey, RetiredRoot, TokenKey
from troth.world.observation.objects import BUNDLE, BUNDLE_MAP


def bundle_files(view: DomainView) -> dict[str, str]:
    """Return the SPIFFE bundles for a domain's namespaces, by file name.

    As in the PEM, a federated domain's bundle has only the roots that are confined to it. It always
    has the domain's token keys, because a key verifies only tokens of its own trust domain.
    """
    own, trust_domain = _own(view), view.domain.spec.domain
    bundles = {trust_domain: own}
    for other in view.federated:
        if other.anchors or other.keys:
            bundles[other.domain.spec.domain] = _document(other.anchors, other.keys)
    for_events = {**bundles, trust_domain: _with_retired(view)}
    return {
        BUNDLE: _text(own),
        BUNDLE_MAP: _text(bundle_map_document(bundles)),
        EVENTS_BUNDLE_MAP: _text(bundle_map_document(for_events)),
    }


def bundle_file(view: DomainView) -> str:
    """Return the domain's own SPIFFE bundle, which its issuer serves."""
    return _text(_own(view))


def _own(view: DomainView) -> dict[str, Any]:
    return _document(view.own_anchors, _token_keys(view))


def _with_retired(view: DomainView) -> dict[str, Any]:
    """Return the domain's own bundle for events."""
    roots, keys = roots_for_events(view.rotation), keys_for_events(view.rotation)
    return _document(view.own_anchors, _token_keys(view), roots, keys)


def _token_keys(view: DomainView) -> tuple[TokenKey, ...]:
    """Return the token keys of a domain that verifiers must know."""
    known = view.rotation.own_tokens
    return known.keys if known is not None else ()


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
