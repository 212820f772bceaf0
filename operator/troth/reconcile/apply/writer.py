"""Writes of single objects; each answer goes into the world.

Every write names the uid of the known object. A write that keeps part of the object's content also
names its resourceVersion.
"""

from typing import Protocol

import structlog

from troth.cluster.denials import FORBIDDEN, logged
from troth.cluster.errors import ApiError
from troth.reconcile.apply.intake import take_in
from troth.reconcile.apply.keys.keyring import Keyring
from troth.reconcile.drift.server_mutations import ServerMutations
from troth.reconcile.runtime.clock import Clock
from troth.resources.references import Ref
from troth.world.facts.objects import MANAGED_BY, Manifest
from troth.world.keys import Keys
from troth.world.outcomes.writes import ForeignFound
from troth.world.world import World

log = structlog.get_logger()

CONFLICT, NOT_FOUND, UNPROCESSABLE = 409, 404, 422


class Writes(Protocol):
    """API server methods for the writes of steps; a rehearsal implements them, too."""

    async def apply(self, manifest: Manifest) -> Manifest:
        """Apply an object and return it."""

    async def apply_new(self, manifest: Manifest) -> Manifest:
        """Apply an object that must not exist yet."""

    async def merge_patch(
        self, kind: str, ref: Ref, patch: Manifest, subresource: str = ""
    ) -> Manifest:
        """Merge a patch and return the object."""

    async def json_patch(self, kind: str, ref: Ref, operations: list[Manifest]) -> Manifest:
        """Carry out JSON patch operations and return the object."""

    async def metadata(self, kind: str, ref: Ref) -> Manifest:
        """Return an object's metadata."""

    async def delete(self, kind: str, ref: Ref, uid: str) -> Manifest:
        """Delete the object with this uid."""


class TryAgain(Exception):  # noqa: N818 - no error: an object has changed meanwhile
    """An object that the step depends on has changed; plan again a little later.

    `affected` are the keys that depend on what was learned, too.
    """

    def __init__(self, affected: Keys | None = None) -> None:
        super().__init__()
        self.affected = affected or set()


class Writer:
    """Writes objects. The world takes in each answer at once, so its watch event is no news."""

    def __init__(self, writes: Writes, world: World, keyring: Keyring, clock: Clock) -> None:
        self.alterations = ServerMutations()
        self._writes = writes
        self._world = world
        self._keyring = keyring
        self._clock = clock

    async def put(self, manifest: Manifest, uid: str, resource_version: str = "") -> Keys:
        """Apply to the known object, or create one if none is known (`uid` is empty).

        With `resource_version`, apply only if the object is unchanged since planning. Raises
        `TryAgain` if the object has changed, or if its owner no longer exists.
        """
        if uid:
            metadata = {**manifest["metadata"], "uid": uid}
            if resource_version:
                metadata["resourceVersion"] = resource_version
            try:
                answer = await self._writes.apply({**manifest, "metadata": metadata})
                return self.take_answer(manifest, answer)
            except ApiError as error:
                if error.status in (CONFLICT, NOT_FOUND):
                    raise TryAgain from error
                raise
        if self._world.was_deleted(manifest):
            await self._require_owners(manifest)
        try:
            return self.take_answer(manifest, await self._writes.apply_new(manifest))
        except ApiError as error:
            if error.status == CONFLICT:
                return await self._meet(manifest)
            raise

    async def _require_owners(self, manifest: Manifest) -> None:
        """Raise `TryAgain` unless the owners of a deleted object still exist.

        The garbage collector may have deleted it with its owner. The watches of the two kinds are
        independent, so the owner's deletion may be reported later. It is committed earlier, so the
        API server already knows of it. If Troth may not read the owner, it counts as existing:
        without its NetworkPolicy, a pod would be open. Any other failure is retried.
        """
        for owner in manifest["metadata"].get("ownerReferences") or []:
            kind, uid = owner["kind"], owner["uid"]
            ref = Ref(manifest["metadata"]["namespace"], owner["name"])
            try:
                found = (await self._writes.metadata(kind, ref))["metadata"]["uid"]
            except ApiError as error:
                if error.status not in {NOT_FOUND, FORBIDDEN}:
                    raise
                if error.status == FORBIDDEN:
                    log.warning("owner not read", kind=kind, ref=str(ref), **logged(error))
                    continue
                found = None
            if found != uid:
                raise TryAgain(self._world.forget_uid(kind, ref, uid, self._clock.uptime()))

    async def _meet(self, manifest: Manifest) -> Keys:
        """Determine the owner of an existing object that has the name of a new one."""
        kind, ref = manifest["kind"], Ref.of(manifest)
        try:
            found = (await self._writes.metadata(kind, ref))["metadata"]
        except ApiError as error:
            if error.status == NOT_FOUND:
                raise TryAgain from error
            raise
        if (found.get("labels") or {}).get(MANAGED_BY) == "troth":
            raise TryAgain  # an earlier run created it; the informer will report it
        owners = {owner["uid"] for owner in manifest["metadata"].get("ownerReferences") or []}
        if owners.intersection(owner["uid"] for owner in found.get("ownerReferences") or []):
            # Troth's own object without its labels: after restoring them, the informer finds it
            # again
            labels = {"uid": found["uid"], "labels": manifest["metadata"]["labels"]}
            patch = {"metadata": labels}
            return self.take_answer(patch, await self._writes.merge_patch(kind, ref, patch))
        return self._world.observe_outcome(ForeignFound(kind, ref, self._clock.now()))

    async def merge(self, kind: str, ref: Ref, patch: Manifest) -> Keys:
        """Merge a patch that names the known object; raises `TryAgain` if it has changed."""
        try:
            return self.take_answer(patch, await self._writes.merge_patch(kind, ref, patch))
        except ApiError as error:
            if error.status in (CONFLICT, NOT_FOUND):
                raise TryAgain from error
            raise

    async def patch_secret(self, secret: Ref, patch: Manifest | list[Manifest]) -> Keys:
        """Change part of a Secret; raises `TryAgain` if it has changed since planning."""
        try:
            if isinstance(patch, list):
                answer = await self._writes.json_patch("Secret", secret, patch)
            else:
                answer = await self._writes.merge_patch("Secret", secret, patch)
        except ApiError as error:
            if error.status in (CONFLICT, NOT_FOUND):
                raise TryAgain from error
            if error.status == UNPROCESSABLE and isinstance(patch, list):
                await self._check_unchanged(secret, patch, error)
            raise
        return self.take_answer({} if isinstance(patch, list) else patch, answer)

    async def _check_unchanged(self, secret: Ref, tests: list[Manifest], error: ApiError) -> None:
        """Raise `TryAgain` if a Secret is not what a JSON patch tests for.

        The API server answers 422, without a cause, to a failed test and also to a patch that it
        rejects. If a rejection counted as a conflict, Troth would retry forever without reporting
        it.
        """
        try:
            found = (await self._writes.metadata("Secret", secret))["metadata"]
        except ApiError as gone:
            if gone.status == NOT_FOUND:
                raise TryAgain from error
            raise
        for each in tests:
            if each["op"] == "test" and found.get(each["path"].split("/")[-1]) != each["value"]:
                raise TryAgain from error

    def take_answer(self, sent: Manifest, answer: Manifest) -> Keys:
        """Take in the answer to a write, and how it differs from the sent manifest or merge patch.

        Returns the affected keys.
        """
        self.alterations.note((answer["kind"], Ref.of(answer)), sent, answer)
        return self.observe(answer)

    def observe(self, manifest: Manifest) -> Keys:
        """Take in an answer; return the affected keys. An outdated answer changes nothing."""
        if self._world.is_unlisted(manifest):
            return set()
        return take_in(manifest, self._world, self._keyring, self._clock.uptime())
