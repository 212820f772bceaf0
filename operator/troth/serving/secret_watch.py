"""Watch of Secrets at the API server.

The last version that was read stays in effect while the API server or the operator is unavailable,
and while a newer version cannot be read. The content of a deleted Secret is dropped at once.

A broken watch may go unnoticed for minutes. Because a revocation must not wait that long, the
versions are also polled.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection
from functools import partial
from typing import ClassVar

import structlog

from troth.cluster.api import ApiServer
from troth.cluster.denials import logged
from troth.cluster.errors import ApiError
from troth.cluster.selection import Selection
from troth.cluster.watching.backoff import Backoff
from troth.cluster.watching.informer import Informer
from troth.cluster.watching.poll import poll
from troth.resources.references import Ref
from troth.world.facts.objects import UNREADABLE, Manifest
from troth.world.origin import origin

LONGEST_PAUSE = 2.0
"""Maximum seconds between attempts to reach the API server: a revocation must not wait longer."""
_NOT_FOUND = 404

log = structlog.get_logger()


class SecretWatch(ABC):
    """Keeps the content of the selected Secrets current. A sink of an informer."""

    invalid: ClassVar[type[Exception]]
    """Exception of `_read` for an unusable Secret. Its text quotes nothing of the Secret."""

    def __init__(self, selection: Selection, poll_interval: float) -> None:
        """Create a watch of a selection. `poll_interval` is in seconds."""
        self.poll_interval = poll_interval
        self._selection = selection
        self._versions: dict[Ref, str] = {}
        self._informer: Informer | None = None

    @abstractmethod
    def _read(self, ref: Ref, version: str, manifest: Manifest) -> None:
        """Put a version of a Secret into effect as a whole, or raise `invalid`."""

    @abstractmethod
    def _unreadable(self, ref: Ref, version: str, why: str, *, expected: bool) -> None:
        """Log that a version cannot be read. An unexpected error is a bug."""

    @abstractmethod
    def _deleted(self, kind: str, ref: Ref, version: int) -> None:
        """Drop the content of a Secret."""

    @property
    def synced(self) -> bool:
        """Whether the Secrets have been listed once."""
        return self._informer is not None and self._informer.synced.is_set()

    def informer(self, server: ApiServer) -> Informer:
        """Return the informer that keeps the content current, with one list and one watch."""
        backoff = Backoff(most=LONGEST_PAUSE)
        self._informer = Informer(server, self._selection, self, _failed, backoff)
        return self._informer

    # The poll

    async def check(self, server: ApiServer) -> None:
        """Poll the versions until cancelled, and get each Secret that has a new version."""
        await poll(
            lambda: self._check(server), self.poll_interval, partial(_failed, self._selection)
        )

    async def _check(self, server: ApiServer) -> None:
        before, found = dict(self._versions), dict[Ref, str]()
        async for page in server.pages(self._selection, metadata_only=True):
            found |= {Ref.of(each): _version(each) for each in page["items"]}
        for ref, version in before.items():
            if ref not in found and self._versions.get(ref) == version:
                self.forget("Secret", ref, 0)
        for ref, version in found.items():
            if version != self._versions.get(ref) == before.get(ref):
                await self._get(server, ref)

    async def _get(self, server: ApiServer, ref: Ref) -> None:
        before = self._versions.get(ref)
        try:
            found = await server.get("Secret", ref)
        except ApiError as error:
            if error.status != _NOT_FOUND:  # deleted since the list; the next poll sees it
                raise
        else:
            if self._versions.get(ref) == before:  # else the watch was faster
                self.observe(found)

    # The informer's sink

    def observe(self, manifest: Manifest) -> None:
        """Read a Secret, unless this version has been read before."""
        ref, version = Ref.of(manifest), _version(manifest)
        if version == self._versions.get(ref):
            return
        self._versions[ref] = version
        if UNREADABLE in manifest:
            self._unreadable(ref, version, str(manifest[UNREADABLE]), expected=True)
            return
        try:
            self._read(ref, version, manifest)
        except self.invalid as error:
            self._unreadable(ref, version, str(error), expected=True)
        except Exception as error:  # noqa: BLE001 - no Secret may end the process
            # the error's own text may quote a key
            self._unreadable(ref, version, origin(error), expected=False)

    def forget(self, kind: str, ref: Ref, version: int) -> None:
        """Drop a deleted Secret."""
        self._versions.pop(ref, None)
        self._deleted(kind, ref, version)

    def is_past(self, manifest: Manifest, version: int) -> bool:
        """Return False, because a version that differs from the known one counts, also an older."""
        del manifest, version
        return False

    def known(self, selection: Selection) -> Collection[Ref]:
        """Return the known Secrets."""
        del selection
        return tuple(self._versions)

    def listed(self, selection: Selection, version: int) -> None:
        """Do nothing, because the effect of a Secret does not depend on the other Secrets."""
        del selection, version


def _version(manifest: Manifest) -> str:
    return str(manifest["metadata"]["resourceVersion"])


def _failed(selection: Selection, error: ApiError) -> None:
    log.warning("watch failed", kind=selection.kind, **logged(error))
