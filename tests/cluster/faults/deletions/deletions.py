"""A path on which users delete what Troth just wrote, or its owner, before Troth has the answer.

The deletion follows the commit of a write. Its watch event and the answer to the write may reach
the operator in either order, and so may the events of an owner and of its owned object.
"""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from aiohttp import web

from sandbox.faults import Call
from tests.cluster.crashes.crash_points import CrashingPath, CrashPoint
from tests.cluster.person import LONG, Manifest, Person, condition, until
from tests.cluster.stage import DOMAIN
from troth.cluster.api import RESOURCES
from troth.resources.kinds import KIND_BY_NAME
from troth.resources.references import Ref
from troth.world.facts.objects import OWNER_KIND, OWNER_NAME
from troth.world.observation.webhook_secrets import endpoint_of

Place = tuple[str, Ref]
LATER = 0.2
"""Seconds for which a watch is late; no test depends on this time."""
AUTHORITY_SUFFIX = "-authority"


class Order(StrEnum):
    """What the operator learns first of a write and of the deletion that follows it."""

    ANSWER = "answer first"
    DELETION = "deletion first"
    COLLECTION = "owned object first"
    """The garbage collector's deletion of the owned object comes before that of its owner."""


@dataclass(frozen=True)
class Deletion:
    """A deletion after a write: of the object itself, or of its owner.

    `again` is whether the owner is declared again at once.
    """

    order: Order
    owner: bool = False
    again: bool = False

    def __str__(self) -> str:
        what = f"owner {'replaced' if self.again else 'deleted'}" if self.owner else "deleted"
        return f"{what}, {self.order}"


@dataclass(frozen=True)
class EachOnce(CrashPoint):
    """Every write: of objects, or of statuses. The path deletes each target once."""

    relentless: bool = True
    statuses: bool = False

    def comes_with(self, number: int, write: Call) -> bool:
        del number
        return write.path.endswith("/status") is self.statuses


@dataclass
class DeletingPath(CrashingPath):
    """The path. A deletion follows the write of the crash point, once for each target."""

    deletion: Deletion = Deletion(Order.ANSWER)
    deleted: list[Manifest] = field(default_factory=list)
    """Objects deleted since `set_crash_point`."""

    def joined_by(self, person: Person, is_gone: Callable[[Place, int], bool]) -> None:
        """Set who deletes, and whether the operator knows an object to be gone at a version."""
        self._person, self._is_gone = person, is_gone

    def set_crash_point(self, point: CrashPoint) -> None:
        super().set_crash_point(point)
        self.deleted.clear()

    async def _strike(
        self, request: web.Request, call: Call, answer: web.StreamResponse
    ) -> web.StreamResponse:
        del request
        written = _object_in(answer, call)
        target = written and await self._target(written)
        if written and target and place_of(target) not in map(place_of, self.deleted):
            self.deleted.append(target)
            self.crashes += 1
            await self._delete(target, written)
        return answer

    async def _target(self, written: Manifest) -> Manifest | None:
        """Return what is deleted after this write, None if that is nothing."""
        if not self.deletion.owner:
            return None if written["kind"] in KIND_BY_NAME else written
        place = owner_of(written)
        if place is None or (self._collected_first and not is_collected(written)):
            return None
        found = await self._person.get(*place)
        return found and {**found, "kind": place[0]}

    async def _delete(self, target: Manifest, written: Manifest) -> None:
        """Delete the target; return when the answer to the write may pass."""
        kind, ref = place_of(target)
        if self.deletion.order is not Order.DELETION:
            self._withhold(RESOURCES[kind].name)
        await self._person.delete(kind, ref)
        if self._collected_first:
            await self._heard_of(written)
        elif self.deletion.order is Order.DELETION:
            await self._heard_of(target)
        if self.deletion.again:
            await self._person.put(self._person.applied[kind, ref])
        if kind == "Secret" and ref.name.endswith(AUTHORITY_SUFFIX):
            restoring = asyncio.create_task(self._restore(target))
            self._under_way.add(restoring)
            restoring.add_done_callback(self._under_way.discard)

    @property
    def _collected_first(self) -> bool:
        return self.deletion.order is Order.COLLECTION

    def _withhold(self, resource: str) -> None:
        """Let the watches of a resource be late."""
        if resource in self.withheld:
            return
        self.withheld[resource] = asyncio.Event()
        asyncio.get_running_loop().call_later(LATER, self._release, resource)

    def _release(self, resource: str) -> None:
        self.withheld.pop(resource).set()

    async def _heard_of(self, manifest: Manifest) -> None:
        """Wait until the operator knows that an object is deleted."""
        place, version = place_of(manifest), int(manifest["metadata"]["resourceVersion"])

        async def look() -> bool:
            return self._is_gone(place, version)

        await until(look, bool, LONG)

    async def _restore(self, authority: Manifest) -> None:
        """Restore an authority's Secret as from a backup, unless Troth creates another."""
        kind, ref = place_of(authority)
        domain = Ref("", ref.name.removesuffix(AUTHORITY_SUFFIX))

        async def missed() -> bool | None:
            found = await self._person.get(DOMAIN, domain)
            if found is None or await self._person.get(kind, ref) is not None:
                return False
            return condition(found, "AuthorityReady").get("reason") == "AuthorityMissing" or None

        if await until(missed, lambda lost: lost is not None):
            await self._person.create(copy_of(authority))


def owner_of(manifest: Manifest) -> Place | None:
    """Return the resource for which Troth wrote an object: itself if it is a resource."""
    metadata, place = manifest["metadata"], place_of(manifest)
    if manifest["kind"] in KIND_BY_NAME:
        return place
    for each in metadata.get("ownerReferences") or []:
        return each["kind"], Ref(place[1].namespace, each["name"])
    labels = metadata.get("labels") or {}
    match labels.get(OWNER_KIND):
        case "TrustDomain" as kind:
            return kind, Ref("", labels[OWNER_NAME])
        case "WebhookEndpoint" as kind:
            endpoint = endpoint_of(place[1])
            return (kind, endpoint) if endpoint else None
    return None


def is_collected(manifest: Manifest) -> bool:
    """Return whether the garbage collector deletes an object with its owner."""
    return bool(manifest["metadata"].get("ownerReferences"))


def place_of(manifest: Manifest) -> Place:
    """Return an object's kind and name."""
    return manifest["kind"], Ref.of(manifest)


def copy_of(manifest: Manifest) -> Manifest:
    """Return an object as it can be created again."""
    metadata = manifest["metadata"]
    kept = ("name", "namespace", "labels", "annotations")
    return {**manifest, "metadata": {key: metadata[key] for key in kept if key in metadata}}


def _object_in(answer: web.StreamResponse, call: Call) -> Manifest | None:
    """Return the object that a write changed, None if the write deleted it."""
    if call.verb == "DELETE" or not isinstance(answer, web.Response):
        return None
    assert isinstance(answer.body, bytes)
    written: Manifest = json.loads(answer.body)
    return None if "deletionTimestamp" in written["metadata"] else written
