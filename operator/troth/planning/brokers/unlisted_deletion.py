"""Plan of a deleted `MessageBroker` or `TopicPolicy` in a namespace that Troth does not list.

Troth knows only its metadata, so it can revoke nothing because of it. It removes its finalizer once
the patience is over, because otherwise the namespace would never be deleted.
"""

from dataclasses import dataclass
from datetime import datetime

from troth.planning.grants.finalizer import (
    left_behind,
    patience_for,
    remove_finalizer_of_unreadable,
)
from troth.planning.plan import Plan
from troth.world.facts.broker import StoredLedger
from troth.world.facts.deletion import Deletion
from troth.world.keys import BROKER_METADATA, Key, status_key


@dataclass(frozen=True, slots=True)
class UnlistedView:
    """What is known of a deleted resource of which only the metadata is known.

    `is_listed` is whether another plan ends the deletion, because Troth lists the namespace. `kept`
    is the ledger of a broker.
    """

    key: Key
    deletion: Deletion | None
    is_listed: bool
    kept: StoredLedger | None
    now: datetime


def plan_unlisted_deletion(known: UnlistedView) -> Plan:
    """Return the plan of a resource of which only the metadata is known.

    It has a step only if no other plan ends the deletion: its namespace is not watched, or has no
    complete list of its objects.
    """
    key, deletion = known.key, known.deletion
    if deletion is None:
        return Plan(key, "")
    ends = patience_for(deletion)
    if known.now < ends:
        return Plan(key, deletion.uid, due=ends)
    if known.is_listed:
        return Plan(key, deletion.uid)
    resource, warning = status_key(key), _left_behind(key, known.kept)
    step = remove_finalizer_of_unreadable(resource, deletion, warning, known_as=key.kind)
    return Plan(key, deletion.uid, steps=(step,) if step is not None else ())


def _left_behind(key: Key, kept: StoredLedger | None) -> str:
    """Return what may stay at the broker, "" if that is nothing."""
    why = f"Troth does not list the resources of namespace {key.ref.namespace}"
    if key.kind != BROKER_METADATA:
        return f"all grants that {status_key(key)} declares may stay at its broker, because {why}"
    warning = left_behind(kept, why)
    if kept is None or not warning:
        return warning
    return f"{warning}. ConfigMap {kept.ref} lists them; delete it after you have removed them"
