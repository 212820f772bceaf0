"""Handover of shards between replicas.

A replica forgets the outcomes of its own writes for the keys that another works on from now on:
they are outdated once another process writes. If the keys come back, they begin as after a restart,
except that the delays of their statuses continue.

If the lease lapses, the replica forgets nothing until it gets shards again, and then only what it
did not get back. It closes its connections to brokers at once: it may stay without shards.
"""

from functools import partial

from troth.reconcile.brokers.work import Background
from troth.reconcile.loop.engine import Engine
from troth.resources.references import Ref
from troth.world.keys import Keys, identity_key
from troth.world.outcomes.brokers import BrokerTakenOver
from troth.world.outcomes.writes import PlannedElsewhere
from troth.world.shards import CENTRAL


def take_shards(engine: Engine, held: frozenset[int]) -> None:
    """Let an engine work on the keys of these shards alone from now on."""
    gained, lost = engine.sharding.change(held, partial(is_idle, engine))
    engine.queue.add(_forget_outcomes(engine, lost))
    if CENTRAL in lost or not held:
        _disconnect(engine, engine.background)
    if not held:
        _disconnect(engine, engine.observer)
    if gained:
        _begin(engine, gained)
    engine.queue.resume()


def _begin(engine: Engine, gained: frozenset[int]) -> None:
    """Queue all keys of the gained shards."""
    shard_of, registry = engine.sharding.shard_of, engine.world.registry
    keys = engine.world.everything()
    keys |= set(map(identity_key, (*registry.claimants, *registry.trust_records)))
    if CENTRAL in gained:
        _disconnect(engine, engine.observer)
        for each in _brokers(engine):
            engine.queue.add(engine.world.observe_outcome(BrokerTakenOver(each)))
    engine.queue.add(key for key in keys if shard_of(key) in gained)


def _disconnect(engine: Engine, work: Background) -> None:
    """Close the connections with which brokers were changed until now, or only observed."""
    for each in _brokers(engine):
        work.disconnect(each)


def _brokers(engine: Engine) -> set[Ref]:
    return {key.ref for key in engine.world.everything() if key.kind == "MessageBroker"}


def is_idle(engine: Engine, shard: int) -> bool:
    """Return whether an engine works on no key of a shard."""
    return all(engine.sharding.shard_of(key) != shard for key in engine.queue.working)


def _forget_outcomes(engine: Engine, lost: frozenset[int]) -> Keys:
    """Forget the outcomes for the keys of lost shards; return the keys that this affects."""
    shard_of, faults = engine.sharding.shard_of, engine.faults
    concerned = engine.refusals.keys | engine.repairs.keys | faults.keys | engine.applied.keys
    for key in (key for key in concerned | engine.key_maker.resources if shard_of(key) in lost):
        engine.refusals.forget(key)
        engine.repairs.forget_writes(key)
        engine.faults.note(key, ())
        engine.key_maker.withdraw(key)
        engine.applied.forget(key)
    unapplied = list(engine.world.registry.unapplied)
    affected: Keys = set()
    for ref in (ref for ref in unapplied if shard_of(identity_key(ref)) in lost):
        affected |= engine.world.observe_outcome(PlannedElsewhere(ref))
    return affected
