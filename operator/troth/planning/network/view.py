"""What the NetworkPolicies of identities ask the world about brokers."""

from collections.abc import Iterator

from troth.planning.network.reachable_brokers import OutlivedPolicies, ReachableBrokers, reach_of
from troth.resources.references import Ref
from troth.world.reader import Reader


def gather_reach(identity: Ref, reader: Reader) -> ReachableBrokers:
    """Return the brokers whose pods an identity may reach."""
    grants = reader.grants_for_identity(identity)
    return reach_of(identity, grants, _outlived(reader), reader.registry, reader.messaging)


def _outlived(reader: Reader) -> Iterator[OutlivedPolicies]:
    for ref, broker in reader.messaging.brokers.items():
        ledger, leaving = reader.ledger(ref), reader.leaving_at(ref)
        retained = ledger.retained if ledger is not None else frozenset()
        if retained or leaving:
            yield OutlivedPolicies(broker, retained, leaving)
