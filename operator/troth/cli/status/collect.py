"""Reads the report of `troth status` from a cluster."""

from dataclasses import dataclass, field
from functools import partial

from troth.cli.inputs.access import FORBIDDEN, PersonalServer
from troth.cli.inputs.targets import Named
from troth.cli.inputs.watched import watched_in
from troth.cli.status.edges import edge_summary
from troth.cli.status.models import (
    IdentitySummary,
    broker_summary,
    domain_summary,
    identity_summary,
    policy_summary,
    rotation_summary,
)
from troth.cli.status.overview import (
    BROKER,
    DOMAIN,
    ENDPOINT,
    IDENTITY,
    POLICY,
    ROTATION,
    overview,
)
from troth.cli.status.report import Report
from troth.cli.status.webhook_models import endpoint_summary
from troth.cluster.errors import ApiError
from troth.resources.faults import FaultyManifests, ManifestFault
from troth.resources.manifests import Manifest
from troth.resources.references import Ref
from troth.trust.declarations.watched import NOT_WATCHED, Watched, not_watched


@dataclass
class _Seen:
    """The objects of each kind that the user may list."""

    server: PersonalServer
    namespace: str
    objects: dict[str, list[Manifest]] = field(default_factory=dict)
    hidden: list[str] = field(default_factory=list)

    async def read(self, kind: str, *, namespaced: bool = True) -> None:
        """Read a kind in all namespaces; if that is forbidden, only in `namespace`.

        A namespace alone is not enough, because a root issues certificates for all of them.
        """
        places = ["", self.namespace] if namespaced and self.namespace else [""]
        for place in places:
            try:
                found = await self.server.listed(kind, place)
            except ApiError as error:
                if error.status != FORBIDDEN:
                    raise
                self.hidden += [] if kind in self.hidden else [kind]
                self.objects[kind] = []
            else:
                watched = watched_in(self.objects.get(DOMAIN, ()))
                self.objects[kind] = [_as_watched(each, watched) for each in found]
                return


def _as_watched(manifest: Manifest, watched: Watched) -> Manifest:
    """Return the resource; one that Troth does not watch has no status but this.

    Whatever its status says is from an earlier time.
    """
    namespace = manifest["metadata"].get("namespace", "")
    if watched.reads(namespace):
        return manifest
    ready = {
        "type": "Ready",
        "status": "False",
        "reason": NOT_WATCHED,
        "message": not_watched(namespace),
    }
    return {**manifest, "status": {"conditions": [ready]}}


async def survey(
    server: PersonalServer, target: Named | None, namespace: str, home: str = ""
) -> Report:
    """Return the state of one resource and its rotations, or of all resources in a namespace.

    An empty namespace means all; if the user may not list a kind in all, it is listed in `home`.
    Trust domains belong to every namespace. Raises `FaultyManifests` if the resource does not
    exist.
    """
    seen = _Seen(server, namespace or home)
    await seen.read(DOMAIN, namespaced=False)
    await seen.read(IDENTITY)
    await seen.read(ROTATION)
    await seen.read(BROKER)
    await seen.read(POLICY)
    await seen.read(ENDPOINT)
    complete = IDENTITY not in seen.hidden
    shown = _that_go_with(target, namespace, seen) if target else _all_in(namespace, seen)
    identities = partial(_with_edges, among=seen.objects[IDENTITY]) if target else identity_summary
    found = Report(
        trust_domains=tuple(
            domain_summary(each, seen.objects[IDENTITY], complete=complete)
            for each in shown[DOMAIN]
        ),
        message_brokers=tuple(map(broker_summary, shown[BROKER])),
        credential_rotations=tuple(map(rotation_summary, shown[ROTATION])),
        service_identities=tuple(map(identities, shown[IDENTITY])),
        topic_policies=tuple(map(policy_summary, shown[POLICY])),
        webhook_endpoints=tuple(map(endpoint_summary, shown[ENDPOINT])),
        hidden=tuple(seen.hidden),
    )
    if target:
        return found
    whole = overview(shown, found.summaries, seen.objects[IDENTITY])
    return found.model_copy(update={"overview": whole})


def _with_edges(identity: Manifest, among: list[Manifest]) -> IdentitySummary:
    """Return the state of an identity with its edges, which the statuses of all identities have."""
    edges = edge_summary(identity, among)
    return identity_summary(identity).model_copy(update={"edges": edges})


def _all_in(namespace: str, seen: _Seen) -> dict[str, list[Manifest]]:
    return {
        kind: [each for each in seen.objects[kind] if _is_in(namespace, each)]
        for kind in (IDENTITY, BROKER, POLICY, ENDPOINT)
    } | {
        DOMAIN: seen.objects[DOMAIN],
        ROTATION: [
            each
            for each in seen.objects[ROTATION]
            if _is_in(namespace, each) or each["spec"]["target"]["kind"] == DOMAIN
        ],
    }


def _that_go_with(target: Named, namespace: str, seen: _Seen) -> dict[str, list[Manifest]]:
    """Return a resource and the rotations of its credential."""
    kind, name = target.kind.name, target.name
    where = namespace if target.kind.namespaced else ""
    found = [
        each
        for each in seen.objects[kind]
        if each["metadata"]["name"] == name and _is_in(where, each)
    ]
    if not found and kind not in seen.hidden:
        place = Ref(where, name)
        raise FaultyManifests(
            [
                ManifestFault(
                    "",
                    f"{kind} {place}",
                    "",
                    "not found; see `troth status`",
                )
            ]
        )
    rotations = [
        each
        for each in seen.objects[ROTATION]
        if each["spec"]["target"] == {"kind": kind, "name": name} and _is_in(where, each)
    ]
    nothing: dict[str, list[Manifest]] = {each: [] for each in seen.objects}
    return nothing | {ROTATION: rotations} | {kind: found}


def _is_in(namespace: str, manifest: Manifest) -> bool:
    return not namespace or manifest["metadata"].get("namespace") == namespace
