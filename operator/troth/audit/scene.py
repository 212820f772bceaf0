"""The scene: all that rules read, indexed by namespace."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar, cast

from troth.audit.facts.in_world import is_in_world
from troth.audit.facts.ingress.gateways import MESH_ROOT
from troth.audit.facts.kept import PACKED, kept, packed, read_of, unpacked, without_status
from troth.audit.facts.owners import named_owner, owner_in
from troth.audit.facts.pods.parties import Party, parties_of, parties_of_template
from troth.audit.facts.pods.running import Running, running_pods, running_templates
from troth.audit.facts.pods.sharing import Pool
from troth.audit.facts.pods.workloads import TEMPLATES, Pod, Workload, cron_job, pod, workload
from troth.audit.facts.traffic import Traffic
from troth.audit.finding import Object
from troth.resources.kinds import KIND_BY_NAME
from troth.resources.references import Ref
from troth.trust.declarations.registry import Registry
from troth.trust.declarations.trust_records import recorded_by
from troth.trust.declarations.watched import Watched
from troth.trust.selectors import matches
from troth.world.world import World

Manifest = dict[str, Any]


_NEVER = datetime.min.replace(tzinfo=UTC)

_OF_NETWORK = frozenset({*KIND_BY_NAME, "Namespace", "NetworkPolicy"})
"""Kinds besides pods that decide what the network allows."""

_SEVERAL = 2
"""Number of pods of a party from which more of them make no difference."""

_T = TypeVar("_T")


@dataclass(slots=True, repr=False)
class Scene:
    """Objects of a cluster or of files. Rules only read it.

    `put` and `remove` change it and return the namespaces that must be evaluated again, `None` if
    all must, and none if nothing changed that rules read.
    """

    own_namespace: str = "troth-system"
    now: datetime = _NEVER
    in_cluster: bool = False
    """Whether the objects are those of a cluster, so that pods and statuses exist."""
    hidden: dict[str, str] = field(default_factory=dict)
    """Kinds that could not be read, and the reasons as clauses."""
    unwanted: set[str] = field(default_factory=set)
    """Hidden kinds that nobody asked for."""
    traffic: Traffic = field(default_factory=Traffic)
    world: World = field(init=False)
    """Resources of Troth's kinds, Namespaces, Services and the API server's addresses, as planning
    sees them."""
    _workloads: dict[str, dict[Object, Workload]] = field(default_factory=dict)
    _pods: dict[str, dict[str, Pod]] = field(default_factory=dict)
    _others: dict[str, dict[str, dict[Ref, Manifest | bytes]]] = field(default_factory=dict)
    """Objects of other kinds, by kind and namespace; those of `PACKED` as JSON."""
    _cron_jobs: dict[Object, Object] = field(default_factory=dict)
    """CronJob of each Job that one controls."""
    _planned: set[Object] = field(default_factory=set)
    """Workloads of manifests that override those of a cluster."""
    _pool: Pool = field(default_factory=Pool)
    """The pods of a template share their spec and their labels."""
    _parties: Counter[Party] = field(default_factory=Counter)
    """Number of pods of each party of the network."""
    _network: dict[object, Any] = field(default_factory=dict)
    """What was computed from the whole network, until it changes."""
    _derived: dict[str, dict[object, Any]] = field(default_factory=dict)
    """What was computed from the objects of a namespace, until one of them changes."""

    def __post_init__(self) -> None:
        self.world = World(self.own_namespace)

    def watch(self, watched: Watched) -> None:
        """Judge as an operator that watches these namespaces. Put their objects afterwards."""
        self.world = World(self.own_namespace, Registry(watched))
        for kind in ("Namespace", "TrustDomain"):
            for each in self.objects(kind):
                self.world.observe(each, uptime=0.0)

    # Changes

    def put(self, manifest: Manifest, *, planned: bool = False) -> set[str] | None:
        """Take in an object; return the namespaces to evaluate again, None for all.

        In a cluster, a planned workload is judged by its template, and its pods are left out.
        """
        kind, ref = manifest["kind"], Ref.of(manifest)
        changed = kind in TEMPLATES and self._put_workload(manifest, ref)
        status_alone = False
        if kind == "Pod":
            changed |= self._put_pod(ref, self._pool.shared(pod(manifest), self._pods.values()))
        elif is_in_world(manifest, self.own_namespace, self.world.registry.watched):
            self.world.observe(manifest, uptime=0.0)
        if kind not in ("Pod", *TEMPLATES):
            there, seen = self._others_in(kind, ref.namespace), kept(manifest)
            known = self.object(kind, ref)
            changed = known is None or read_of(known) != read_of(seen)
            status_alone = known is not None and without_status(known) == without_status(seen)
            there[ref] = packed(seen)
        if planned and kind in TEMPLATES and kind != "Pod":
            self._planned.add(Object(kind, ref))
        if not changed:
            return set()
        self._forget(kind, ref)
        return self._affected(kind, ref, status_alone=status_alone)

    def remove(self, kind: str, ref: Ref) -> set[str] | None:
        """Take in that an object does not exist; return what `put` returns."""
        place = Object(kind, ref)
        self._forget(kind, ref)
        self._workloads.get(ref.namespace, {}).pop(place, None)
        self._put_cron_job(place, None)
        if kind == "Pod":
            self._put_pod(ref, None)
        self._others_in(kind, ref.namespace).pop(ref, None)
        known = self.world.version(kind, ref)
        if known is not None:  # at this version, so that another object of the name is news
            self.world.forget(kind, ref, known.number, 0.0)
        return self._affected(kind, ref)

    def _others_in(self, kind: str, namespace: str) -> dict[Ref, Manifest | bytes]:
        return self._others.setdefault(kind, {}).setdefault(namespace, {})

    def _forget(self, kind: str, ref: Ref) -> None:
        """Drop what was computed from an object that changes."""
        self._derived.pop(ref.namespace, None)
        if kind in _OF_NETWORK or (not self.in_cluster and kind in TEMPLATES):
            self._network.clear()

    def _put_pod(self, ref: Ref, after: Pod | None) -> bool:
        """Take in a pod, None if it is gone; return whether that changed anything."""
        here = self._pods.setdefault(ref.namespace, {})
        before = here.pop(ref.name, None)
        if after is not None:
            here[ref.name] = after
        gone = list(parties_of(before)) if before is not None else []
        come = list(parties_of(after)) if after is not None else []
        known = {each: self._parties[each] for each in (*gone, *come)}
        self._parties.update(come)
        self._parties -= Counter(gone)
        if any(min(n, _SEVERAL) != min(self._parties[each], _SEVERAL) for each, n in known.items()):
            self._network.clear()
        return before != after

    def _put_workload(self, manifest: Manifest, ref: Ref) -> bool:
        """Take in an object with a pod template; return whether that changed anything."""
        place = Object(manifest["kind"], ref)
        found, cron = workload(manifest), cron_job(manifest)
        here = self._workloads.setdefault(ref.namespace, {})
        before = here.pop(place, None)
        if found is not None:
            here[place] = found
        return self._put_cron_job(place, cron) or before != found

    def _put_cron_job(self, job: Object, cron: Object | None) -> bool:
        """Take in which CronJob controls a Job; return whether that changed."""
        before = self._cron_jobs.pop(job, None)
        if cron is not None:
            self._cron_jobs[job] = cron
        if before != cron and any(each.workload == job for each in self._parties):
            self._network.clear()
        return before != cron

    def _affected(self, kind: str, ref: Ref, *, status_alone: bool = False) -> set[str] | None:
        of_mesh = kind == "AuthorizationPolicy" and ref.namespace == MESH_ROOT
        declared = kind in KIND_BY_NAME and not status_alone
        if declared or of_mesh or not ref.namespace:
            return None
        record = recorded_by(ref, self.own_namespace) if kind == "ConfigMap" else None
        return {ref.namespace, record.identity.namespace if record else ref.namespace}

    # Reading. Nobody may change the lists that are returned, because they are kept.

    def derived(self, namespace: str, what: object, compute: Callable[[], _T]) -> _T:
        """Return a value that depends only on the objects of a namespace, computed once.

        `what` names it. It must not depend on objects elsewhere, `now` or traffic.
        """
        known = self._derived.setdefault(namespace, {})
        if what not in known:
            known[what] = compute()
        return cast("_T", known[what])

    def of_network(self, what: object, compute: Callable[[], _T]) -> _T:
        """Return a value that depends only on `parties`, NetworkPolicies, namespaces and resources
        of Troth, computed once.

        It depends on `now` in files, where Troth's policies are compiled, so it is not kept there.
        """
        if not self.in_cluster:
            return compute()
        if what not in self._network:
            self._network[what] = compute()
        return cast("_T", self._network[what])

    def parties(self) -> Mapping[Party, int]:
        """Return the sets of pods that no NetworkPolicy tells apart, and their numbers of pods.

        In files they are those of pod templates, each with one.
        """
        if self.in_cluster and not self._planned:
            return self._parties
        templates = {
            party: 1
            for namespace in self.namespaces()
            for each in self._templates_in(namespace)
            for party in parties_of_template(each.object, each.labels, each.spec)
        }
        live = {each: n for each, n in self._parties.items() if self._is_live(each.workload)}
        return {**live, **templates} if self.in_cluster else templates

    def _is_live(self, place: Object) -> bool:
        """Return whether the pods of a workload, and not a planned template, say how it runs."""
        return self.workload_of(place) not in self._planned

    def _templates_in(self, namespace: str) -> list[Running]:
        """Return the workloads that run as their templates say: all in files, else planned ones."""
        workloads = self.workloads_in(namespace)
        if self.in_cluster:
            workloads = [each for each in workloads if each.object in self._planned]
        return running_templates(workloads)

    def namespaces(self) -> list[str]:
        """Return the names of all namespaces in which there is an object, sorted."""
        named = {ref.name for ref in self._others.get("Namespace", {}).get("", ())}
        found = {name for each in self._others.values() for name, there in each.items() if there}
        return sorted((named | found | self._workloads.keys() | self._pods.keys()) - {""})

    def labels_of_namespace(self, namespace: str) -> Mapping[str, str]:
        """Return a namespace's labels, with the one that the API server sets."""
        found = self.object("Namespace", Ref("", namespace)) or {}
        labels = found.get("metadata", {}).get("labels") or {}
        return {"kubernetes.io/metadata.name": namespace, **labels}

    def is_governed(self, namespace: str) -> bool:
        """Return whether a TrustDomain governs a namespace."""
        return self.world.registry.governance(namespace).domain is not None

    def workloads_in(self, namespace: str) -> list[Workload]:
        """Return the workloads of a namespace, by kind and name, without the Jobs of CronJobs."""
        here = self._workloads.get(namespace, {})
        return self.derived(
            namespace,
            "workloads",
            lambda: [each for key, each in sorted(here.items()) if key not in self._cron_jobs],
        )

    def workload(self, place: Object) -> Workload | None:
        """Return a workload, None if there is none."""
        return self._workloads.get(place.ref.namespace, {}).get(place)

    def workload_of(self, controller: Object) -> Object:
        """Return the workload whose pods an object controls: of a CronJob's Job, the CronJob."""
        return self._cron_jobs.get(controller, controller)

    def pods_in(self, namespace: str) -> list[Pod]:
        """Return the pods of a namespace that exist and have not ended, by name."""
        return self.derived(
            namespace,
            "pods",
            lambda: [
                each for _, each in sorted(self._pods.get(namespace, {}).items()) if each.running
            ],
        )

    def ended_in(self, namespace: str) -> list[Pod]:
        """Return the pods of a namespace that have ended and still exist, by name."""
        here = self._pods.get(namespace, {})
        return [each for _, each in sorted(here.items()) if not each.running]

    def pods_of(self, place: Object) -> list[Pod]:
        """Return the pods of a workload; of a CronJob, those of its Jobs."""

        def by_workload() -> dict[Object, list[Pod]]:
            found: dict[Object, list[Pod]] = {}
            for each in self.pods_in(place.ref.namespace):
                found.setdefault(self.workload_of(each.workload), []).append(each)
            return found

        return self.derived(place.ref.namespace, "pods of", by_workload).get(place, [])

    def running_in(self, namespace: str) -> list[Running]:
        """Return the workloads of a namespace as they run, by kind and name.

        In a cluster they are those that have pods, as their pods are. In files they are those with
        a pod template, as the template says, and so are planned ones in a cluster.
        """

        def as_they_run() -> list[Running]:
            templates = self._templates_in(namespace)
            if not self.in_cluster:
                return templates
            pods = [each for each in self.pods_in(namespace) if self._is_live(each.workload)]
            live = running_pods(pods, self.workload, self.workload_of)
            return sorted([*live, *templates], key=lambda each: each.object)

        return self.derived(namespace, "running", as_they_run)

    def objects(self, kind: str, namespace: str | None = None) -> list[Manifest]:
        """Return the objects of a kind that is none of a workload, by namespace and name.

        They have no last-applied annotation and no managed fields; a Secret has no content, and a
        ConfigMap the names of its keys alone.
        """
        by_namespace = self._others.get(kind, {})
        if namespace is None:
            return [each for name in sorted(by_namespace) for each in self.objects(kind, name)]

        def read() -> list[Manifest]:
            return [unpacked(each) for _, each in sorted(by_namespace.get(namespace, {}).items())]

        return read() if kind in PACKED else self.derived(namespace, ("objects", kind), read)

    def object(self, kind: str, ref: Ref) -> Manifest | None:
        """Return one such object, None if there is none."""
        found = self._others.get(kind, {}).get(ref.namespace, {}).get(ref)
        return unpacked(found) if found is not None else None

    def identities_of(self, namespace: str, labels: Mapping[str, str]) -> Iterator[Ref]:
        """Yield the ServiceIdentities that select a pod with these labels."""
        identities = self.world.registry.identities
        by_label = self.derived(namespace, "identities", lambda: self._by_label(namespace))
        found = [*by_label.get(None, ())]
        for each in labels.items():
            found += by_label.get(each, ())
        for ref in sorted(found):
            if matches(identities[ref].spec.workload.pod_selector, labels):
                yield ref

    def _by_label(self, namespace: str) -> dict[tuple[str, str] | None, list[Ref]]:
        """Return a namespace's identities by a label that each requires, None if it requires no
        single value.
        """
        registry = self.world.registry
        found: dict[tuple[str, str] | None, list[Ref]] = {}
        for ref in registry.identities_in(namespace):
            required = registry.identities[ref].spec.workload.pod_selector.match_labels
            found.setdefault(min(required.items(), default=None), []).append(ref)
        return found

    def services_to(self, namespace: str, labels: Mapping[str, str]) -> list[Manifest]:
        """Return the Services that lead to a pod with these labels."""
        return [
            each
            for each in self.objects("Service", namespace)
            if _selects((each.get("spec") or {}).get("selector"), labels)
        ]

    def owner_of(self, place: Object) -> str:
        """Return the team or person that the metadata of an object, of its pods or of its
        namespace name, empty if they name none.
        """
        known = self.workload(place)
        return (
            (known.owner if known else owner_in(self.object(place.kind, place.ref)))
            or (named_owner(known.annotations, known.labels) if known else "")
            or owner_in(self.object("Namespace", Ref("", place.ref.namespace)))
        )


def scene_of(manifests: Iterable[Manifest], now: datetime, *, in_cluster: bool = False) -> Scene:
    """Return the scene of some objects."""
    scene = Scene(now=now, in_cluster=in_cluster)
    for each in manifests:
        scene.put(each)
    return scene


def _selects(selector: object, labels: Mapping[str, str]) -> bool:
    return (
        isinstance(selector, dict)
        and bool(selector)
        and all(labels.get(key) == value for key, value in selector.items())
    )
