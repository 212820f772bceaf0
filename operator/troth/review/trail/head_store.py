"""Reads and writes the head at the API server. Its resourceVersion lets no two workers write it."""

from typing import Protocol

from troth.cluster.errors import ApiError
from troth.resources.references import Ref
from troth.review.trail.head import Head, HeadError, manifest, parse
from troth.world.facts.objects import Manifest

NOT_FOUND, CONFLICT = 404, 409


class OvertakenError(Exception):
    """Another worker has appended to the log, so this one must not: the chain would fork."""


class Objects(Protocol):
    """What the store needs of an API server. `ApiServer` has it."""

    async def get(self, kind: str, ref: Ref) -> Manifest:
        """Return an object; raises `ApiError`."""

    async def create(self, manifest: Manifest) -> Manifest:
        """Create an object; raises `ApiError` 409 if it exists."""

    async def replace(self, manifest: Manifest) -> Manifest:
        """Replace an object; raises `ApiError` 409 if it has another resourceVersion."""


class HeadStore:
    """The ConfigMap with the head of one log."""

    def __init__(self, server: Objects, ref: Ref) -> None:
        self.ref = ref
        self._server = server
        self._version: str | None = None

    async def load(self) -> Head | None:
        """Return the head, None if there is no ConfigMap.

        Raises `ApiError`, and `HeadError` if the ConfigMap is not one.
        """
        try:
            found = await self._server.get("ConfigMap", self.ref)
        except ApiError as error:
            if error.status != NOT_FOUND:
                raise
            self._version = None
            return None
        head = parse(found)
        self._version = found["metadata"]["resourceVersion"]
        return head

    async def write(self, head: Head, before: Head) -> None:
        """Write the head that follows `before`.

        A ConfigMap that was deleted, or went back to an earlier entry of this log, is brought
        forward. Raises `ApiError` if the head is perhaps not written, so that the same one must be
        written again, and `OvertakenError` if another worker has written the log.
        """
        try:
            await self._put(head)
        except ApiError as error:
            if error.status not in (NOT_FOUND, CONFLICT):
                raise
        else:
            return
        found = await self._found()
        if found is not None and (found.log, found.sequence, found.hash) == _key(head):
            return  # the answer to an earlier attempt was lost
        if found is not None and (found.log != before.log or not _had(before, found)):
            raise OvertakenError(
                f"another worker has written ConfigMap {self.ref}, up to entry {found.sequence}"
            )
        await self._put(head)

    async def _found(self) -> Head | None:
        try:
            return await self.load()
        except HeadError as error:
            raise OvertakenError(f"ConfigMap {self.ref} was changed: {error}") from None

    async def _put(self, head: Head) -> None:
        made = manifest(head, self.ref, self._version)
        write = self._server.create if self._version is None else self._server.replace
        answer = await write(made)
        self._version = answer["metadata"]["resourceVersion"]


def _key(head: Head) -> tuple[str, int, str]:
    return head.log, head.sequence, head.hash


def _had(before: Head, found: Head) -> bool:
    return _key(found) == _key(before) or before.had(found.sequence, found.hash)
