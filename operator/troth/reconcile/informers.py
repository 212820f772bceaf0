"""What Troth watches: as little as it needs, and never a foreign Secret."""

from troth.cluster.api import Selection
from troth.world.facts import MANAGED_BY
from troth.world.schemas import LABEL, SCHEMAS
from troth.world.workloads import BUDGET, KINDS

_OURS = f"{MANAGED_BY}=troth"


def selections(own_namespace: str, *, rollouts: bool = False) -> tuple[Selection, ...]:
    """Return what is listed and watched, for a Troth that runs in `own_namespace`.

    Workloads, and the budgets that protect them, only for one that restarts them (`rollouts`).
    The two selections of Secrets never overlap: CA Secrets, given or made, are in Troth's own
    namespace; everywhere else only those that Troth wrote are read. Nor do the two of ConfigMaps:
    of those that Troth did not write, only what is labelled as a schema is read.
    """
    return (
        Selection("TrustDomain"),
        Selection("ServiceIdentity"),
        Selection("MessageBroker"),
        Selection("TopicPolicy"),
        Selection("CredentialRotation"),
        Selection("Namespace"),
        Selection("Service"),
        Selection("EndpointSlice", "default", labels="kubernetes.io/service-name=kubernetes"),
        Selection("Secret", labels=_OURS, fields=f"metadata.namespace!={own_namespace}"),
        Selection("Secret", own_namespace),
        Selection("ConfigMap", labels=_OURS),
        Selection("ConfigMap", labels=f"{LABEL},{MANAGED_BY}!=troth", known_as=SCHEMAS),
        Selection("NetworkPolicy", labels=_OURS),
        *(Selection(kind) for kind in (*KINDS, BUDGET) if rollouts),
    )
