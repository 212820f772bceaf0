"""How full the documents are that hold entries of many namespaces or of many peers."""

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric

from troth.planning.identity import secret_manifest
from troth.planning.owned_objects import secret_ref
from troth.planning.trust_domain import issuer_view
from troth.world.facts.objects import TokensSecret
from troth.world.observation import ledger
from troth.world.world import World

SHOWN_FROM = 0.5
"""Fill from which the document of an identity has a sample. There are many, and few are large."""

_LENGTH = slice(-4, None)
"""Last member of a gzip file (RFC 1952): the uncompressed length."""


def document_metrics(world: World) -> Iterator[Metric]:
    """Yield the fill of each document, 1 if there is no room for more."""
    family = GaugeMetricFamily(
        "troth_document_fill_ratio",
        "Size of a document in relation to the size to which Troth adds entries.",
        labels=("document", "namespace", "name"),
    )
    for name, domain in sorted(world.registry.domains.items()):
        known = world.tokens.of(domain)
        if domain.spec.tokens is not None and known is not None:
            family.add_metric(("issuer-configuration", "", name), _view_fill(known))
    for ref, kept in sorted(world.brokers.ledgers.items()):
        family.add_metric(("ledger", *ref), kept.size / ledger.MOST)
    for ref, identity in sorted(world.registry.identities.items()):
        secret = world.secrets.get(secret_ref(identity.ref))
        if secret is not None:
            fill = sum(map(len, secret.public.values())) / secret_manifest.MOST
            if fill >= SHOWN_FROM:
                family.add_metric(("identity", *ref), fill)
    yield family


def _view_fill(known: TokensSecret) -> float:
    length = int.from_bytes(known.view[_LENGTH], "little")
    return max(len(known.view) / issuer_view.MOST, length / issuer_view.LONGEST)
