"""What Troth watches: as little as it needs, and never a foreign Secret."""

from troth.cluster.api import Selection
from troth.world.facts.objects import MANAGED_BY
from troth.world.index.workloads import BUDGET, KINDS
from troth.world.watch_class import GIVEN, REPORTS, SCHEMAS, selectors

_OURS = f"{MANAGED_BY}=troth"


def selections(own_namespace: str, *, rollouts: bool = False) -> tuple[Selection, ...]:
    """Return what is listed and watched, for a Troth that runs in `own_namespace`.

    Workloads, and the budgets that protect them, only for one that restarts them (`rollouts`).
    The selections of Secrets never overlap: CA Secrets, given or made, are in Troth's own
    namespace; everywhere else only those are read that Troth wrote, and those that people labelled
    as the keys of a webhook's sender. Nor do those of ConfigMaps: of those that Troth did not
    write, only what is labelled as a schema, or as a gateway's report, is read.
    """
    labelled = selectors()
    elsewhere = f"metadata.namespace!={own_namespace}"
    return (
        Selection("TrustDomain"),
        Selection("ServiceIdentity"),
        Selection("MessageBroker"),
        Selection("TopicPolicy"),
        Selection("WebhookEndpoint"),
        Selection("CredentialRotation"),
        Selection("Namespace"),
        Selection("Service"),
        Selection("EndpointSlice", "default", labels="kubernetes.io/service-name=kubernetes"),
        Selection("Secret", labels=_OURS, fields=elsewhere),
        Selection("Secret", labels=labelled[GIVEN], fields=elsewhere, subset=GIVEN),
        Selection("Secret", own_namespace),
        Selection("ConfigMap", labels=_OURS),
        Selection("ConfigMap", labels=labelled[SCHEMAS], subset=SCHEMAS),
        Selection("ConfigMap", labels=labelled[REPORTS], subset=REPORTS),
        Selection("NetworkPolicy", labels=_OURS),
        *(Selection(kind) for kind in (*KINDS, BUDGET) if rollouts),
    )
