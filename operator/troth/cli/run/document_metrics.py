"""How full the documents are that hold entries of many namespaces or of many peers."""

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric

from troth.documents import token_grants
from troth.planning.identity.secret import manifest as secret_manifest
from troth.planning.network import compiler, live_peers
from troth.planning.owned_objects import broker_policy_ref, policy_ref, secret_ref
from troth.resources.references import Ref
from troth.world.facts.objects import Content, TokensSecret
from troth.world.observation import ledger
from troth.world.world import World

SHOWN_FROM = 0.5
"""Fill from which a document of an identity has a sample. There are many, and few are large."""

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
    for ref in sorted(world.brokers.messaging.brokers):
        policy = world.policies.get(broker_policy_ref(ref))
        if policy is not None:
            family.add_metric(("broker-network-policy", *ref), _policy_fill(policy))
    for ref in sorted(world.registry.identities):
        for document, fill in _identity_fills(ref, world):
            if fill >= SHOWN_FROM:
                family.add_metric((document, *ref), fill)
    yield family


def _identity_fills(ref: Ref, world: World) -> Iterator[tuple[str, float]]:
    secret, policy = world.secrets.get(secret_ref(ref)), world.policies.get(policy_ref(ref))
    if secret is not None:
        yield "identity", sum(map(len, secret.public.values())) / secret_manifest.MOST
    if policy is not None:
        yield "network-policy", _policy_fill(policy)


def _policy_fill(policy: Content) -> float:
    return max(len(policy.text) / compiler.MOST, len(policy.live_peers) / live_peers.LIMIT)


def _view_fill(known: TokensSecret) -> float:
    length = int.from_bytes(known.view[_LENGTH], "little")
    return max(len(known.view) / token_grants.MOST, length / token_grants.LONGEST)
