"""Preview of the changes at brokers, without contacting one."""

from collections.abc import Iterator
from dataclasses import dataclass

from troth.cli.grants.report import GIVEN, Granted, everything_granted
from troth.planning.brokers.work import ALLOW_REMOVALS
from troth.planning.grants.dialects import is_enforced
from troth.planning.grants.topic_uses import topic_uses
from troth.planning.grants.view import grants_at
from troth.world.facts.broker import Ledger
from troth.world.index.brokers import credential_ref
from troth.world.reader import Reader
from troth.world.world import World


@dataclass(frozen=True, slots=True)
class AtBrokers:
    """Grants to add and revoke, credentials to issue, and problems, as lines of text.

    A credential is issued when its broker is reached, so `credentials` names only its Secret.
    """

    begin: tuple[str, ...]
    end: tuple[str, ...]
    credentials: tuple[str, ...]
    attention: tuple[str, ...]

    @property
    def any(self) -> bool:
        """Whether anything changes."""
        return bool(self.begin or self.end or self.credentials)


def at_brokers(before: World, after: World) -> AtBrokers:
    """Return what changes at brokers between two worlds."""
    was, will_be = _given(before), _given(after)
    return AtBrokers(
        begin=tuple(sorted(will_be - was)),
        end=tuple(sorted(was - will_be)),
        credentials=tuple(_credentials(after)),
        attention=tuple(_braked(after)),
    )


def _given(world: World) -> set[str]:
    """Return the grants that a broker has or will get."""
    return {str(each) for each in everything_granted(world) if _is_given(each)}


def _is_given(grant: Granted) -> bool:
    return grant.state in GIVEN and grant.reason != "BrokerObserved"


def _credentials(world: World) -> Iterator[str]:
    """Yield the Secrets that will be created."""
    for identity in sorted(world.registry.identities):
        grants = world.grants.for_identity(identity)
        for uses in topic_uses(grants, world.brokers.messaging):
            broker = uses.broker
            if (
                uses.live
                and is_enforced(broker)
                and not broker.spec.by_certificate
                and world.brokers.secret(identity, broker.ref) is None
            ):
                yield f"Secret {credential_ref(identity, broker.ref)}, once {broker.ref} answers"


def _braked(world: World) -> Iterator[str]:
    """Yield the brokers whose brake will block the removal of rules."""
    for ref, broker in sorted(world.brokers.messaging.brokers.items()):
        ledger = world.brokers.ledger(ref) or Ledger()
        wanted = grants_at(broker, ledger, Reader(world)).wanted
        surplus = ledger.rules - wanted.rules - wanted.suspended - wanted.temporary
        if is_enforced(broker) and len(surplus) > broker.spec.brake.max_removals:
            yield (
                f"MessageBroker {ref}: Braked: {len(surplus)} rules are to be removed, but "
                f"brake.maxRemovals is {broker.spec.brake.max_removals}; to allow it, set the "
                f"annotation {ALLOW_REMOVALS}"
            )
