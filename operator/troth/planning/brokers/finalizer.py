"""The finalizer of what is granted at a broker: it has to be taken back there before it is gone.

It must end though the broker never comes back, so patience with one that cannot be reached is
limited.
"""

from datetime import datetime, timedelta

from troth.planning.steps.objects import SetFinalizers
from troth.resources.messaging.message_broker import MessageBroker
from troth.resources.messaging.topic_policy import TopicPolicy

FINALIZER = "troth.dev/broker"
PATIENCE = timedelta(minutes=10)
"""How long after its deletion a resource waits for a broker that cannot be reached."""


def is_held(resource: MessageBroker | TopicPolicy) -> bool:
    """Say whether a resource will wait until all is taken back that was granted because of it."""
    return FINALIZER in resource.metadata.finalizers


def add_finalizer(resource: MessageBroker | TopicPolicy) -> SetFinalizers:
    """Return the step after which it waits."""
    return _setting(resource, (*resource.metadata.finalizers, FINALIZER))


def remove_finalizer(resource: MessageBroker | TopicPolicy, warning: str = "") -> SetFinalizers:
    """Return the step after which it waits for Troth no more; `warning` says what stays behind."""
    others = tuple(each for each in resource.metadata.finalizers if each != FINALIZER)
    return _setting(resource, others, warning)


def patience_ends(resource: MessageBroker | TopicPolicy) -> datetime | None:
    """Return until when a resource waits that is being deleted, None for one that is not."""
    deleted = resource.metadata.deletion_timestamp
    return None if deleted is None else deleted + PATIENCE


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
