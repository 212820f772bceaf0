"""The record of gateway-only trust in Troth's namespace, which outlives its identity."""

from dataclasses import replace
from datetime import datetime, timedelta

from troth.planning.owned_objects import trust_record_ref
from troth.planning.plan import Plan
from troth.planning.steps.objects import Apply, Remove
from troth.planning.steps.step import Step
from troth.resources.identity.authentication import GATEWAY_TRUST_CEILING
from troth.resources.references import Ref
from troth.resources.schema.scalars import format_time
from troth.trust.declarations.trust_records import UNREADABLE, former_record
from troth.world.facts.objects import MANAGED_BY, TRUST_RECORD_KEY
from troth.world.keys import Key
from troth.world.world import World

RETENTION = timedelta(days=180)
"""Time for which the record of a deleted identity is kept after the last end of its trust. After
that, the name counts as new."""


def record_steps(
    identity: Ref, since: datetime | None, world: World, now: datetime
) -> tuple[Step, ...]:
    """Return the steps that record when gateway-only trust was first accepted, none for never.

    The record of an earlier version, beside the identity, is removed once the record in Troth's
    namespace has its time. A record that cannot be read stays as it is.
    """
    records = world.registry.trust_records
    if since in (None, UNREADABLE) or not records.has_room(identity):
        return ()
    since = min(since, now)
    ref = trust_record_ref(world.own_namespace, identity)
    record = Apply(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": ref.name,
                "namespace": ref.namespace,
                "labels": {MANAGED_BY: "troth"},
            },
            "data": {TRUST_RECORD_KEY: format_time(since)},
        }
    )
    if records.has_former(identity) and records.kept(identity) == since:
        return record, *_removal(former_record(identity), world)
    return (record,)


def recorded(plan: Plan, since: datetime | None, world: World, now: datetime) -> Plan:
    """Return the plan of an existing identity with the steps of its record."""
    return replace(plan, steps=(*record_steps(plan.key.ref, since, world, now), *plan.steps))


def plan_without_identity(key: Key, world: World, now: datetime) -> Plan:
    """Return the plan of an identity that does not exist: it keeps the record until its end.

    A record that cannot be read stays, because nobody knows its end.
    """
    since = world.registry.trust_records.of(key.ref)
    if since is None or since == UNREADABLE:
        return Plan(key, "")
    end = min(since, now) + GATEWAY_TRUST_CEILING + RETENTION
    if now < end:
        return Plan(key, "", record_steps(key.ref, since, world, now), due=end)
    refs = (trust_record_ref(world.own_namespace, key.ref), former_record(key.ref))
    return Plan(key, "", tuple(step for ref in refs for step in _removal(ref, world)))


def _removal(record: Ref, world: World) -> tuple[Remove, ...]:
    fact = world.bundles.get(record)
    return (Remove("ConfigMap", record, fact.uid),) if fact is not None else ()
