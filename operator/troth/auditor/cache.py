"""The scene as a cache of the API server, as informers fill it and evaluations read it.

An evaluation runs in a thread, because a whole one takes seconds. Until it ends, changes wait, so
that rules read one consistent scene and no lock is needed.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import partial

import structlog

from troth.audit.facts.traffic import Traffic
from troth.audit.finding import Object
from troth.audit.scene import Scene
from troth.cluster.selection import Selection
from troth.resources.references import Ref
from troth.world.facts.objects import UNREADABLE, Manifest
from troth.world.origin import origin

log = structlog.get_logger()


class SceneCache:
    """Sink of the informers. It keeps the namespaces that must be evaluated again."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.dirty = asyncio.Event()
        """Set while something must be evaluated again."""
        self._changed: set[str] | None = None
        self._uids: dict[str, dict[Ref, str]] = defaultdict(dict)
        self._unreadable: dict[str, dict[Ref, str]] = defaultdict(dict)
        self._denied: dict[str, str] = {}
        self._waiting: list[Callable[[], None]] | None = None

    # What the informers report

    def observe(self, manifest: Manifest) -> None:
        """Take in the current state of an object."""
        self._uids[manifest["kind"]][Ref.of(manifest)] = manifest["metadata"].get("uid", "")
        self._change(partial(self._put, manifest))

    def forget(self, kind: str, ref: Ref, version: int) -> None:
        """Take in that an object does not exist."""
        del version  # each kind has one informer, which reports changes in order
        if self._uids[kind].pop(ref, None) is not None:
            self._change(partial(self._remove, kind, ref))

    def is_past(self, manifest: Manifest, version: int) -> bool:
        """Return False: the version of the list alone shows a restored store."""
        del manifest, version
        return False

    def known(self, selection: Selection) -> Collection[Ref]:
        """Return the known objects of a selection."""
        return set(self._uids[selection.kind])

    def listed(self, selection: Selection, version: int) -> None:
        """Take in that the objects of a kind can be read."""
        del version
        self._change(partial(self._hide, selection.kind, ""))

    def hide(self, kind: str, why: str) -> None:
        """Take in why the objects of a kind cannot be read, as a clause."""
        self._change(partial(self._hide, kind, why))

    def forget_kind(self, kind: str) -> None:
        """Take in that the API server no longer serves a kind."""
        for ref in list(self._uids[kind]):
            self.forget(kind, ref, 0)
        self._change(partial(self._hide, kind, ""))

    def see_traffic(self, traffic: Traffic) -> None:
        """Take in all traffic that was seen."""
        self._change(partial(self._see, traffic))

    # What evaluations read

    def denies(self, kind: str) -> bool:
        """Return whether the auditor may not read the objects of a kind."""
        return kind in self._denied

    def uid(self, place: Object) -> str:
        """Return an object's UID, empty if it is not known."""
        return self._uids[place.kind].get(place.ref, "")

    def counts(self) -> Counter[str]:
        """Return the number of known objects of each kind."""
        return Counter({kind: len(known) for kind, known in self._uids.items()})

    def mark(self, changed: set[str] | None) -> None:
        """Mark namespaces to be evaluated again, all for None."""
        if changed is None or (self._changed is None and self.dirty.is_set()):
            self._changed = None
        elif self._changed is None:
            self._changed = set(changed)
        else:
            self._changed |= changed
        self.dirty.set()

    def take(self) -> set[str] | None:
        """Return what must be evaluated again, and mark nothing; None for all namespaces."""
        changed = self._changed if self.dirty.is_set() else set()
        self._changed = set()
        self.dirty.clear()
        return changed

    @contextmanager
    def held(self) -> Iterator[Scene]:
        """Let the scene not change in this context. Changes wait until its end."""
        self._waiting = []
        try:
            yield self.scene
        finally:
            waiting, self._waiting = self._waiting, None
            for change in waiting:
                change()

    # Changes

    def _change(self, change: Callable[[], None]) -> None:
        if self._waiting is None:
            change()
        else:
            self._waiting.append(change)

    def _put(self, manifest: Manifest) -> None:
        kind, ref = manifest["kind"], Ref.of(manifest)
        try:
            if UNREADABLE in manifest:
                raise ValueError(UNREADABLE)  # noqa: TRY301 - as any object that cannot be read
            self._affect(self.scene.put(manifest))
        except Exception as error:  # noqa: BLE001 - no object ends the auditor
            if ref not in self._unreadable[kind]:
                log.warning("object unreadable", kind=kind, object=str(ref), error=origin(error))
            self._unreadable[kind][ref] = origin(error)
            self._affect(self.scene.remove(kind, ref))
        else:
            self._unreadable[kind].pop(ref, None)
        self._show(kind)

    def _remove(self, kind: str, ref: Ref) -> None:
        self._unreadable[kind].pop(ref, None)
        self._affect(self.scene.remove(kind, ref))
        self._show(kind)

    def _see(self, traffic: Traffic) -> None:
        before, self.scene.traffic = self.scene.traffic, traffic
        if traffic != before:
            # no rule reads traffic: it changes statuses and reports alone
            self.mark(set())

    def _hide(self, kind: str, why: str) -> None:
        if why:
            self._denied[kind] = why
        else:
            self._denied.pop(kind, None)
        self._show(kind)

    def _show(self, kind: str) -> None:
        """Hide a kind from the rules if not all of its objects can be read, else show it."""
        why = self._denied.get(kind, "")
        if not why and self._unreadable[kind]:
            # without a name, because the reports of all namespaces have it
            why = "some objects cannot be read; see the auditor's log"
        if self.scene.hidden.get(kind, "") == why:
            return
        if why:
            self.scene.hidden[kind] = why
        else:
            del self.scene.hidden[kind]
        self.mark(None)

    def _affect(self, changed: set[str] | None) -> None:
        if changed is None or changed:
            self.mark(changed)
