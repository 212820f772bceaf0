"""The record of gateway-only trust in Troth's namespace, which outlives its identity."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from troth.planning.plan import Plan
from troth.planning.steps.objects import Apply, Remove
from troth.planning.steps.step import Step
from troth.resources.identity.authentication import GATEWAY_TRUST_CEILING
from troth.resources.references import Ref
from troth.resources.schema.scalars import format_time
from troth.trust.declarations.trust_records import UNREADABLE
from troth.world.facts.objects import MANAGED_BY, TRUST_RECORD_KEY, Content, Fact
from troth.world.facts.owned import OwnedObject
from troth.world.keys import Key

RETENTION = timedelta(days=180)
"""Time for which the record of a deleted identity is kept after the last end of its trust. After
that, the name counts as new."""


@dataclass(frozen=True, slots=True)
class TrustRecord:
    """What is known of the record of one identity's gateway-only trust.

    `since` is when the trust was first accepted, None for never. `kept` is the time in the record,
    and `former` is the record of an earlier version, beside the identity. `has_room` is false if
    the namespace has too many records for another one.
    """

    since: datetime | None
    kept: datetime | None
    owned: OwnedObject[Content]
    has_former: bool
    former: Content | None
    has_room: bool

    @property
    def ref(self) -> Ref:
        """Name of the ConfigMap."""
        return self.owned.ref


def record_steps(record: TrustRecord, since: datetime | None, now: datetime) -> tuple[Step, ...]:
    """Return the steps that record when gateway-only trust was first accepted, none for never.

    The record of an earlier version, beside the identity, is removed once the record in Troth's
    namespace has its time. A record that cannot be read stays as it is.
    """
    if since in (None, UNREADABLE) or not record.has_room:
        return ()
    since = min(since, now)
    step = Apply(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": record.ref.name,
                "namespace": record.ref.namespace,
                "labels": {MANAGED_BY: "troth"},
            },
            "data": {TRUST_RECORD_KEY: format_time(since)},
        }
    )
    if record.has_former and record.kept == since:
        return step, *_removal(record.former)
    return (step,)


def recorded(plan: Plan, record: TrustRecord, since: datetime | None, now: datetime) -> Plan:
    """Return the plan of an existing identity with the steps of its record."""
    return replace(plan, steps=(*record_steps(record, since, now), *plan.steps))


def plan_without_identity(key: Key, record: TrustRecord, now: datetime) -> Plan:
    """Return the plan of an identity that does not exist: it keeps the record until its end.

    A record that cannot be read stays, because nobody knows its end.
    """
    since = record.since
    if since is None or since == UNREADABLE:
        return Plan(key, "")
    end = min(since, now) + GATEWAY_TRUST_CEILING + RETENTION
    if now < end:
        return Plan(key, "", record_steps(record, since, now), due=end)
    facts = (record.owned.fact, record.former)
    return Plan(key, "", tuple(step for fact in facts for step in _removal(fact)))


def _removal(fact: Fact | None) -> tuple[Remove, ...]:
    return (Remove("ConfigMap", fact.ref, fact.uid),) if fact is not None else ()
