"""The objects that Troth lists and watches: as few as it needs, and no foreign Secrets."""

from collections.abc import Iterator

from troth.cluster.selection import Selection
from troth.reconcile.loop.cache import REVIEWS
from troth.resources.kinds import KINDS as DECLARED
from troth.trust.declarations.watched import EVERYWHERE, Watched
from troth.world.facts.objects import MANAGED_BY
from troth.world.index.workloads import BUDGET, KINDS
from troth.world.keys import METADATA_OF
from troth.world.watch_class import GIVEN, REPORTS, SCHEMAS, selectors

_OURS = f"{MANAGED_BY}=troth"


def selections(
    own_namespace: str, *, rollouts: bool = False, watched: Watched = EVERYWHERE
) -> tuple[Selection, ...]:
    """Return the selections that Troth lists and watches if it runs in `own_namespace`.

    Unless Troth watches every namespace, each selection of namespaced objects is of one namespace.

    Workloads and their PodDisruptionBudgets are included only with `rollouts`.

    The selections of Secrets never overlap. Given and generated CA Secrets are in Troth's own
    namespace. In other namespaces, Troth reads only Secrets that it wrote, and Secrets that users
    labelled as signing keys of a webhook sender.

    The selections of ConfigMaps never overlap either. Besides the ConfigMaps that it wrote, Troth
    reads only those labelled as a schema or as a gateway's report.
    """
    spaces = ("",) if watched.names is None else sorted(watched.names)
    return (
        Selection("TrustDomain"),
        Selection("Namespace"),
        Selection("EndpointSlice", "default", labels="kubernetes.io/service-name=kubernetes"),
        Selection("Secret", own_namespace),
        *(
            each
            for space in spaces
            for each in _in_namespace(space, own_namespace, rollouts=rollouts)
        ),
    )


def metadata_selections(watched: Watched) -> tuple[Selection, ...]:
    """Return the selections of which Troth reads the metadata in every namespace.

    It ends deletions in namespaces that it does not list; Troth that watches all lists each.
    """
    if watched.everywhere:
        return ()
    return tuple(
        Selection(kind, subset=watch_class, metadata_only=True)
        for kind, watch_class in METADATA_OF.items()
    )


def _in_namespace(namespace: str, own_namespace: str, *, rollouts: bool) -> Iterator[Selection]:
    """Yield the selections of the objects of a namespace, or of all if it is empty."""
    labelled = selectors()
    yield from (Selection(kind.name, namespace) for kind in DECLARED if kind.namespaced)
    yield Selection(REVIEWS, namespace)
    yield Selection("Service", namespace)
    if namespace != own_namespace:
        fields = "" if namespace else f"metadata.namespace!={own_namespace}"
        yield Selection("Secret", namespace, labels=_OURS, fields=fields)
        yield Selection("Secret", namespace, labels=labelled[GIVEN], fields=fields, subset=GIVEN)
    yield Selection("ConfigMap", namespace, labels=_OURS)
    yield Selection("ConfigMap", namespace, labels=labelled[SCHEMAS], subset=SCHEMAS)
    yield Selection("ConfigMap", namespace, labels=labelled[REPORTS], subset=REPORTS)
    yield Selection("NetworkPolicy", namespace, labels=_OURS)
    if rollouts:
        yield from (Selection(kind, namespace) for kind in (*KINDS, BUDGET))
