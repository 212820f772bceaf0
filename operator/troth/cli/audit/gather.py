"""The scene of an audit: manifests, a cluster, or both."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

import typer

from troth.audit.finding import Cause, Object, Unseen
from troth.audit.rule import Rule, Scope
from troth.audit.scene import Scene
from troth.auditor.kinds import is_served, other_version, selections
from troth.cli.audit.manifests import Manifests, collect
from troth.cli.inputs.access import FORBIDDEN, NOT_FOUND, PersonalServer, connected, home
from troth.cli.inputs.watched import watched_by
from troth.cluster.discovery import Served, served
from troth.cluster.errors import ApiError
from troth.cluster.resources import resource_of
from troth.cluster.selection import Selection
from troth.resources.kinds import EVERY_KIND_BY_NAME
from troth.resources.manifests import Manifest
from troth.resources.references import Ref

DENIED = "you are not allowed to list it"
_DOMAIN = "TrustDomain"
NO_SECRETS = "Secrets are not listed; --secret-metadata lists their metadata"


@dataclass(slots=True)
class Gathered:
    """The scene of an audit, and what it lacks."""

    scene: Scene
    manifests: Manifests
    denied: set[str] = field(default_factory=set)
    """Kinds that could not be listed in all namespaces."""
    partial: dict[str, str] = field(default_factory=dict)
    """Kinds that were listed in one namespace alone, and why, as clauses."""

    def unseen_elsewhere(self, rules: Iterable[Rule]) -> Iterable[Unseen]:
        """Yield what rules about the whole cluster lack if a kind was listed in one namespace."""
        for rule in rules:
            kinds = sorted(rule.reads & self.partial.keys())
            if rule.scope is Scope.CLUSTER and kinds:
                yield Unseen(rule.id, tuple(kinds), self.partial[kinds[0]], Cause.DENIED)


def gather(
    files: Sequence[Path] | None,
    rules: Sequence[Rule],
    now: datetime,
    *,
    namespace: str,
    own_namespace: str,
    kubeconfig: Path | None,
    context: str | None,
    secret_metadata: bool,
    watched_namespaces: str = "",
) -> Gathered:
    """Return the scene that options describe. Manifests override the objects of a cluster.

    Raises `FaultyManifests` if the cluster cannot be read, and `typer.BadParameter` without input.
    """
    if not files and kubeconfig is None:
        raise typer.BadParameter("no input; name manifests with -f, or a cluster with --kubeconfig")
    here = namespace or (home(kubeconfig, context) if kubeconfig is not None else "default")
    manifests = collect(files or (), here)
    scene = Scene(own_namespace, now, in_cluster=kubeconfig is not None)
    scene.watch(watched_by(watched_namespaces, (), own_namespace))
    gathered = Gathered(scene, manifests)
    live: dict[Object, Manifest] = {}
    if kubeconfig is not None:
        reader = _Reader(gathered, namespace, watched_namespaces, live)
        kinds = selections(rules, secret_metadata=secret_metadata)
        asyncio.run(reader.read(kubeconfig, context, kinds))
        if not secret_metadata:
            scene.hidden["Secret"] = NO_SECRETS
            scene.unwanted.add("Secret")
    for place, document in list(manifests.documents.items()):
        _put(gathered, place, _overriding(document.manifest, live.get(place)))
    return gathered


def _put(gathered: Gathered, place: Object, manifest: Manifest) -> None:
    """Take a manifest in. One whose parts have a wrong type is a fault."""
    try:
        gathered.scene.put(manifest, planned=True)
    except (TypeError, AttributeError, LookupError, ValueError):
        gathered.manifests.reject(
            place, f"does not have the form of a {place.kind}, so it was not evaluated"
        )


def _overriding(manifest: Manifest, live: Manifest | None) -> Manifest:
    """Return a manifest with what only the API server writes of the object in the cluster."""
    if live is None:
        return manifest
    metadata = live["metadata"]
    kept = {name: metadata[name] for name in ("uid", "creationTimestamp") if name in metadata}
    merged = {**manifest, "metadata": {**kept, **manifest["metadata"]}}
    if "status" in live:
        merged.setdefault("status", live["status"])
    return merged


@dataclass(slots=True)
class _Reader:
    """Reads a cluster page by page, so that whole objects do not stay in memory."""

    gathered: Gathered
    namespace: str
    watched_namespaces: str
    live: dict[Object, Manifest] = field(repr=False)
    """Objects of the cluster that a manifest overrides, filled by reading."""
    served: Served | None = None
    """What the API server serves, once it was asked."""

    async def read(
        self, kubeconfig: Path, context: str | None, kinds: Mapping[str, Selection]
    ) -> None:
        """Read all kinds; raises `FaultyManifests` if a request fails that is not forbidden."""
        scene = self.gathered.scene
        async with connected(kubeconfig, context) as server:
            await self._read(server, kinds[_DOMAIN])  # first, because they list what Troth watches
            domains = [*scene.objects(_DOMAIN), *self.live.values()]
            scene.watch(watched_by(self.watched_namespaces, domains, scene.own_namespace))
            for kind in sorted(kinds.keys() - {_DOMAIN}):
                await self._read(server, kinds[kind])

    async def _read(self, server: PersonalServer, selection: Selection) -> None:
        kind = selection.kind
        failure = await self._listed(server, selection)
        if not failure:
            return
        api = await self._discovered(server)
        if api is not None and not is_served(kind, api):
            other = other_version(kind, api)
            if other:
                self.gathered.denied.add(kind)
                self.gathered.scene.hidden[kind] = other
            return
        if failure == NOT_FOUND:
            return
        self.gathered.denied.add(kind)
        self.gathered.scene.hidden[kind] = DENIED
        namespaced = resource_of(kind).namespaced and not selection.namespace
        if not self.namespace or not namespaced:
            return
        here = replace(selection, namespace=self.namespace)
        if await self._listed(server, here) in (0, NOT_FOUND):
            told = f"you are allowed to list it in the namespace {self.namespace} alone"
            if kind in EVERY_KIND_BY_NAME:  # rules read those of all namespaces
                self.gathered.scene.hidden[kind] = told
            else:
                del self.gathered.scene.hidden[kind]
                self.gathered.partial[kind] = told

    async def _listed(self, server: PersonalServer, selection: Selection) -> int:
        """Take in all objects of a selection; return 0, or why not: `FORBIDDEN` or `NOT_FOUND`.

        The API server forbids a list before it looks whether there is such a kind.
        """
        try:
            async for page in server.pages(selection):
                for item in page["items"]:
                    self._put({**item, "kind": selection.kind})
        except ApiError as error:
            if error.status not in (FORBIDDEN, NOT_FOUND):
                raise
            return error.status
        return 0

    async def _discovered(self, server: PersonalServer) -> Served | None:
        """Return what the API server serves, None if that cannot be found out."""
        if self.served is None:
            with suppress(ApiError):
                self.served = await served(server)
        return self.served

    def _put(self, manifest: Manifest) -> None:
        place = Object(manifest["kind"], Ref.of(manifest))
        if place in self.gathered.manifests.documents:
            self.live[place] = manifest
        else:
            self.gathered.scene.put(manifest)
