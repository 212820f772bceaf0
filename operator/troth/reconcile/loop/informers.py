"""The objects that Troth lists and watches: as few as it needs, and no foreign Secrets."""

from troth.cluster.api import Selection
from troth.world.facts.objects import MANAGED_BY
from troth.world.index.workloads import BUDGET, KINDS
from troth.world.watch_class import GIVEN, REPORTS, SCHEMAS, selectors

_OURS = f"{MANAGED_BY}=troth"


def selections(own_namespace: str, *, rollouts: bool = False) -> tuple[Selection, ...]:
    """Return the selections that Troth lists and watches if it runs in `own_namespace`.

    Workloads and their PodDisruptionBudgets are included only with `rollouts`.

    The selections of Secrets never overlap. Given and generated CA Secrets are in Troth's own
    namespace. In other namespaces, Troth reads only Secrets that it wrote, and Secrets that users
    labelled as signing keys of a webhook sender.

    The selections of ConfigMaps never overlap either. Besides the ConfigMaps that it wrote, Troth
    reads only those labelled as a schema or as a gateway's report.
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
