"""An API server in memory, as far as the auditor writes to it."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from tests.builders import Manifest
from troth.audit.reports.changes import is_managed
from troth.audit.reports.documents import OPENREPORTS
from troth.cluster.errors import ApiError
from troth.cluster.resources import resource_of
from troth.cluster.selection import Selection
from troth.resources.references import Ref

SERVED = frozenset(
    (OPENREPORTS.api_version, resource_of(kind).name)
    for kind in (OPENREPORTS.kind, OPENREPORTS.cluster_kind)
)


@dataclass
class Store:
    """An API server with reports, Events and statuses. `denied` are verbs that it rejects."""

    objects: dict[tuple[str, Ref], Manifest] = field(default_factory=dict)
    denied: set[str] = field(default_factory=set)
    requests: list[str] = field(default_factory=list)
    events: list[Manifest] = field(default_factory=list)
    statuses: list[Manifest] = field(default_factory=list)

    async def pages(self, selection: Selection) -> AsyncIterator[Manifest]:
        self._request("list")
        yield {
            "items": [
                each
                for (kind, _), each in self.objects.items()
                if kind == selection.kind and is_managed(each)
            ]
        }

    async def apply_new(self, manifest: Manifest) -> Manifest:
        self._request("create")
        if (manifest["kind"], Ref.of(manifest)) in self.objects:
            raise ApiError(409, "Conflict", "")
        return await self._stored(manifest)

    async def apply(self, manifest: Manifest) -> Manifest:
        self._request("apply")
        return await self._stored(manifest)

    async def delete(self, kind: str, ref: Ref, uid: str) -> None:
        self._request("delete")
        assert self.objects.pop((kind, ref))["metadata"]["uid"] == uid

    async def create(self, manifest: Manifest) -> None:
        self.events.append(manifest)

    async def apply_status(self, manifest: Manifest) -> None:
        self.statuses.append(manifest)

    async def _stored(self, manifest: Manifest) -> Manifest:
        stored = {**manifest, "metadata": {**manifest["metadata"], "uid": "u"}}
        self.objects[manifest["kind"], Ref.of(manifest)] = stored
        return stored

    def _request(self, verb: str) -> None:
        self.requests.append(verb)
        if verb in self.denied:
            raise ApiError(403, "Forbidden", "")
