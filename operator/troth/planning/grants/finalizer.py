"""Finalizer of resources that cause grants at a broker: Troth revokes these before deletion.

The deletion must end even if the broker never comes back. So Troth waits only for a limited time
for a broker that it cannot reach.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from troth.planning.steps.objects import SetFinalizers
from troth.resources.messaging.message_broker import MessageBroker
from troth.resources.messaging.topic_policy import TopicPolicy
from troth.world.facts.broker import Ledger, StoredLedger
from troth.world.facts.deletion import Deletion
from troth.world.keys import Key

FINALIZER = "troth.dev/broker"
PATIENCE = timedelta(minutes=10)
"""Time after its deletion for which a resource waits for an unreachable broker."""


def is_held(resource: MessageBroker | TopicPolicy) -> bool:
    """Return whether a resource has the finalizer.

    With it, the resource stays until everything that was granted because of it is revoked.
    """
    return FINALIZER in resource.metadata.finalizers


def add_finalizer(resource: MessageBroker | TopicPolicy) -> SetFinalizers:
    """Return the step that adds the finalizer."""
    return _setting(resource, (*resource.metadata.finalizers, FINALIZER))


def remove_finalizer(resource: MessageBroker | TopicPolicy, warning: str = "") -> SetFinalizers:
    """Return the step that removes the finalizer; `warning` says what stays at the broker."""
    others = tuple(each for each in resource.metadata.finalizers if each != FINALIZER)
    return _setting(resource, others, warning)


def remove_finalizer_of_unreadable(
    key: Key, deletion: Deletion | None, warning: str = "", known_as: str = ""
) -> SetFinalizers | None:
    """Return the step that removes the finalizer of a deleted resource whose spec is not known.

    Returns None if the resource is not being deleted, or has no finalizer of Troth.
    """
    if deletion is None or FINALIZER not in deletion.finalizers:
        return None
    others = tuple(each for each in deletion.finalizers if each != FINALIZER)
    uid, version = deletion.uid, deletion.resource_version
    return SetFinalizers(key.kind, key.ref, uid, version, others, warning, known_as)


def left_behind(kept: StoredLedger | None, why: str) -> str:
    """Return what stays at a broker whose spec is not known, "" if that is nothing."""
    if kept is None:
        return ""
    if kept.fault is not None:
        return f"all grants and credentials that Troth made stay at the broker, because {why}"
    if replace(kept.ledger, left=frozenset()) == Ledger():
        return ""
    principals = sorted(kept.ledger.principals)
    return (
        f"{len(kept.ledger.rules)} rules and the credentials of {len(principals)} principals "
        f"({', '.join(principals)}) stay at the broker, because {why}"
    )


def patience_ends(resource: MessageBroker | TopicPolicy) -> datetime | None:
    """Return until when a deleted resource waits for its broker, None if it is not deleted."""
    deleted = resource.metadata.deletion_timestamp
    return None if deleted is None else deleted + PATIENCE


def patience_for(deletion: Deletion) -> datetime:
    """Return until when a deleted resource whose spec is not known waits."""
    return deletion.at + PATIENCE


def _setting(
    resource: MessageBroker | TopicPolicy, finalizers: tuple[str, ...], warning: str = ""
) -> SetFinalizers:
    metadata = resource.metadata
    return SetFinalizers(
        resource.kind,
        resource.ref,
        metadata.uid,
        metadata.resource_version,
        finalizers,
        warning,
    )
