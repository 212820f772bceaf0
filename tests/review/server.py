"""An API server in memory, as far as the worker of reviews uses it."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from tests.builders import Manifest
from troth.cluster.errors import ApiError
from troth.resources.references import Ref
from troth.resources.schema.scalars import format_time
from troth.review.objects.cache import ReviewCache

FAULTS = (ApiError(503, "ServiceUnavailable", ""),)


@dataclass
class Server:
    """Objects by kind and name; `cache` observes each change at once, as an informer would."""

    cache: ReviewCache
    objects: dict[tuple[str, Ref], Manifest] = field(default_factory=dict)
    events: list[Manifest] = field(default_factory=list)
    statuses: list[Manifest] = field(default_factory=list)
    faults: list[ApiError] = field(default_factory=list)
    on_write: Callable[[], None] = lambda: None
    _version: int = 0

    def put(self, manifest: Mapping[str, Any]) -> Manifest:
        """Store an object as a user writes it."""
        self._version += 1
        made = deepcopy(dict(manifest))
        made["metadata"]["resourceVersion"] = str(self._version)
        self.objects[made["kind"], Ref.of(made)] = made
        self.cache.observe(deepcopy(made))
        return made

    def edit(self, kind: str, ref: Ref, **spec: Any) -> None:
        """Change members of a spec."""
        made = deepcopy(self.objects[kind, ref])
        made["spec"] |= spec
        made["metadata"]["generation"] += 1
        self.put(made)

    def delete(self, kind: str, ref: Ref, at: Any) -> None:
        """Delete an object; one with a finalizer is only marked."""
        made = deepcopy(self.objects[kind, ref])
        if made["metadata"].get("finalizers"):
            made["metadata"]["deletionTimestamp"] = format_time(at)
            self.put(made)
            return
        del self.objects[kind, ref]
        self._version += 1
        self.cache.forget(kind, ref, self._version)

    def status(self, name: str) -> Manifest:
        """Return the status of a review."""
        found: Manifest = self.objects["DeadLetterReview", Ref("shop", name)].get("status", {})
        return found

    async def apply_status(self, manifest: Manifest) -> Manifest:
        self._fail()
        found = deepcopy(self._found(manifest))
        wanted = manifest["metadata"].get("resourceVersion")
        if wanted not in (None, found["metadata"]["resourceVersion"]):
            raise ApiError(409, "Conflict", "")
        found["status"] = {**found.get("status", {}), **manifest["status"]}
        self.statuses.append(deepcopy(manifest))
        return self.put(found)

    async def merge_patch(
        self, kind: str, ref: Ref, patch: Manifest, subresource: str = ""
    ) -> Manifest:
        assert not subresource
        self._fail()
        found = deepcopy(self._found({"kind": kind, "metadata": {**ref._asdict()}}))
        wanted = patch["metadata"].get("resourceVersion")
        if wanted not in (None, found["metadata"]["resourceVersion"]):
            raise ApiError(409, "Conflict", "")
        found["metadata"]["finalizers"] = patch["metadata"].get(
            "finalizers", found["metadata"].get("finalizers", [])
        )
        if found["metadata"].get("deletionTimestamp") and not found["metadata"]["finalizers"]:
            del self.objects[kind, ref]
            self._version += 1
            self.cache.forget(kind, ref, self._version)
            return found
        return self.put(found)

    async def create(self, manifest: Manifest) -> Manifest:
        self.events.append(manifest)
        return manifest

    def reasons(self) -> list[str]:
        """Reasons of the Events."""
        return [each["reason"] for each in self.events]

    def _found(self, manifest: Manifest) -> Manifest:
        found = self.objects.get((manifest["kind"], Ref.of(manifest)))
        if found is None:
            raise ApiError(404, "NotFound", "")
        if manifest["metadata"].get("uid") not in (None, found["metadata"]["uid"]):
            raise ApiError(409, "Conflict", "")
        return found

    def _fail(self) -> None:
        self.on_write()
        if self.faults:
            raise self.faults.pop(0)
