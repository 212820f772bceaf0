"""Writing one object, and taking the answer back into the world.

Everything is written to the very object that was seen: by its uid, and where what is written keeps
a part of what stood there, by its resourceVersion as well.
"""

from typing import Protocol

from troth.cluster.errors import ApiError
from troth.reconcile.apply.keyring import Keyring
from troth.reconcile.loop.clock import Clock
from troth.reconcile.loop.intake import take_in
from troth.resources.references import Ref
from troth.world.facts.objects import MANAGED_BY, Manifest
from troth.world.keys import Keys
from troth.world.outcomes.writes import ForeignFound
from troth.world.world import World

CONFLICT, NOT_FOUND, UNPROCESSABLE = 409, 404, 422


class Writes(Protocol):
    """The writes that steps need, as the API server or a rehearsal takes them."""

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
        """Delete that very object."""


class TryAgain(Exception):  # noqa: N818 - not an error: the world has moved on meanwhile
    """The step's ground has changed; plan again a little later."""


class Writer:
    """Writes objects; every answer goes into the world at once, so that its echo is no news."""

    def __init__(self, writes: Writes, world: World, keyring: Keyring, clock: Clock) -> None:
        self._writes = writes
        self._world = world
        self._keyring = keyring
        self._clock = clock

    async def put(self, manifest: Manifest, uid: str, resource_version: str = "") -> Keys:
        """Apply to the very object that is known, or make it where none is known.

        With a resource version, only if the object is as it was seen.
        """
        if uid:
            metadata = {**manifest["metadata"], "uid": uid}
            if resource_version:
                metadata["resourceVersion"] = resource_version
            try:
                return self.observe(await self._writes.apply({**manifest, "metadata": metadata}))
            except ApiError as error:
                if error.status in (CONFLICT, NOT_FOUND):
                    raise TryAgain from error
                raise
        try:
            return self.observe(await self._writes.apply_new(manifest))
        except ApiError as error:
            if error.status == CONFLICT:
                return await self._meet(manifest)
            raise

    async def _meet(self, manifest: Manifest) -> Keys:
        """Find out whose the object is that stands where one was to be made."""
        kind, ref = manifest["kind"], Ref.of(manifest)
        try:
            found = (await self._writes.metadata(kind, ref))["metadata"]
        except ApiError as error:
            if error.status == NOT_FOUND:
                raise TryAgain from error
            raise
        if (found.get("labels") or {}).get(MANAGED_BY) == "troth":
            raise TryAgain  # made by an earlier run; the informer is about to tell
        owners = {owner["uid"] for owner in manifest["metadata"].get("ownerReferences") or []}
        if owners.intersection(owner["uid"] for owner in found.get("ownerReferences") or []):
            # ours, with its labels taken off: put them back, and the informer sees it again
            labels = {"uid": found["uid"], "labels": manifest["metadata"]["labels"]}
            answer = await self._writes.merge_patch(kind, ref, {"metadata": labels})
            return self.observe(answer)
        return self._world.observe_outcome(ForeignFound(kind, ref, self._clock.now()))

    async def merge(self, kind: str, ref: Ref, patch: Manifest) -> Keys:
        """Merge a patch that names the very object that was seen; raises `TryAgain` without it."""
        try:
            return self.observe(await self._writes.merge_patch(kind, ref, patch))
        except ApiError as error:
            if error.status in (CONFLICT, NOT_FOUND):
                raise TryAgain from error
            raise

    async def patch_secret(self, secret: Ref, patch: Manifest | list[Manifest]) -> Keys:
        """Change part of a Secret, if it is still the one that was seen."""
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
        return self.observe(answer)

    async def _check_unchanged(self, secret: Ref, tests: list[Manifest], error: ApiError) -> None:
        """Raise `TryAgain` if a Secret is not what a JSON patch tests for.

        The API server answers 422 without a cause to a test that does not hold, and 422 to what it
        refuses. To take a refusal for a conflict would be to try for ever in silence.
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

    def observe(self, manifest: Manifest) -> Keys:
        """Take in an answer; return whom it affects. A late one changes nothing."""
        if self._world.is_unlisted(manifest):
            return set()
        return take_in(manifest, self._world, self._keyring, self._clock.uptime())
