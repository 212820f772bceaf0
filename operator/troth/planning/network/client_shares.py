"""Shares of a broker's NetworkPolicy among the namespaces of its clients."""

from collections.abc import Iterable
from datetime import UTC, datetime

from troth.planning.network.compiler import ALWAYS_FIT, MOST
from troth.planning.network.live_peers import LIMIT, PeerRule
from troth.resources.references import Ref
from troth.trust.declarations.governance import NEVER
from troth.trust.declarations.registry import Registry
from troth.trust.shares import without_room
from troth.world.facts.objects import canonical

ROOM = 950_000
"""Millionths of the policy that clients may take. The rest is for the rules that are always there.
"""


def over_share(clients: Iterable[PeerRule], registry: Registry) -> frozenset[Ref]:
    """Return the clients for which there is no room.

    Without room for all, each namespace above a common level loses its newest clients. A client
    that cannot be read counts as the oldest.
    """
    by_ref: dict[Ref, list[PeerRule]] = {}
    for each in clients:
        by_ref.setdefault(each.ref, []).append(each)
    if sum(map(len, by_ref.values())) <= ALWAYS_FIT:
        return frozenset()
    namespaces: dict[str, list[Ref]] = {}
    for ref in sorted(by_ref, key=lambda ref: (_age(ref, registry), ref)):
        namespaces.setdefault(ref.namespace, []).append(ref)
    weights = {ref: sum(map(weight_of, rules)) for ref, rules in by_ref.items()}
    return frozenset(without_room(namespaces.values(), ROOM, weights.__getitem__))


def _age(ref: Ref, registry: Registry) -> datetime:
    identity = registry.identities.get(ref)
    if identity is None:
        return datetime.min.replace(tzinfo=UTC)
    return identity.metadata.creation_timestamp or NEVER


def weight_of(client: PeerRule) -> int:
    """Return the millionths of the policy that a client takes: of its rules, or of its list."""
    rules, listed = len(canonical(client.rule)) + 1, client.entry_size
    return max(-(-1_000_000 * rules // MOST), -(-1_000_000 * listed // LIMIT))
