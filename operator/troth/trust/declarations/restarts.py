"""Workloads that Troth restarts for identities."""

from troth.resources.identity.spec import ServiceIdentity
from troth.resources.references import Ref


def workloads(identity: ServiceIdentity) -> tuple[tuple[str, Ref], ...]:
    """Return kind and place of every workload that Troth restarts for an identity."""
    declared, here = identity.spec.on_rotation, identity.ref.namespace
    named = declared.restart if declared else ()
    return tuple((each.kind.value, Ref(here, each.name)) for each in named)
