"""The world as a cache of the API server, as informers fill it and resyncs compare it.

The engine takes in single objects; the cache adds the lists and comparisons that concern them.
"""

from collections.abc import Collection

from troth.cluster.selection import Selection
from troth.reconcile.loop.engine import Engine
from troth.resources.references import Ref
from troth.world.facts.objects import UNREADABLE, Manifest
from troth.world.keys import METADATA_OF
from troth.world.outcomes.reviews import ReviewsRead
from troth.world.outcomes.selections import NamespaceListed, SelectionRead
from troth.world.versions import Version
from troth.world.world import Difference

REVIEWS = "DeadLetterReview"
"""Kind that the operator reads if it can. Without it, it grants no redrive and does all else."""


class Cache:
    """Sink of the informers, and the view that a resync compares."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._world = engine.world
        self._listed: set[Selection] = set()

    def observe(self, manifest: Manifest) -> None:
        """Take in the current state of an object."""
        self._engine.observe(manifest)

    def forget(self, kind: str, ref: Ref, version: int) -> None:
        """Take in that an object did not exist at a resource version."""
        self._engine.forget(kind, ref, version)

    def is_past(self, manifest: Manifest, version: int) -> bool:
        """Return whether an object of a list at a resource version is older than it was by then."""
        return self._world.is_past(manifest, version)

    def known(self, selection: Selection) -> Collection[Ref]:
        """Return the objects of a selection that the world knows, from whichever source."""
        return self._world.known(selection)

    def listed(self, selection: Selection, version: int) -> None:
        """Take in that a list at a resource version is completely observed."""
        self._world.note_list(selection, version)
        if selection.kind == REVIEWS:
            self._listed.add(selection)
            self._note_reviews(selection, hidden=False)

    def denied(self, selection: Selection) -> bool:
        """Take in that the reviews of a selection cannot be listed or watched.

        Return whether they cannot even be listed. If they can, each list shows their current state.
        """
        if selection in self._listed:
            self._listed.discard(selection)
            return False
        self._note_reviews(selection, hidden=True)
        return True

    def _note_reviews(self, selection: Selection, *, hidden: bool) -> None:
        outcome = ReviewsRead(selection.namespace, hidden=hidden)
        self._engine.queue.add(self._world.observe_outcome(outcome))

    def note_unread(self, selection: Selection, unread: bool) -> None:  # noqa: FBT001 - a callback
        """Take in that a selection was not read for too long, or is read again."""
        outcome = SelectionRead(selection.kind, selection.namespace, unread)
        self._engine.queue.add(self._world.observe_outcome(outcome))

    def note_listed(self, namespace: str) -> None:
        """Take in that all objects of a namespace that is listed by itself are known."""
        self._engine.queue.add(self._world.observe_outcome(NamespaceListed(namespace)))

    def difference(
        self, selection: Selection, ref: Ref, listed: Version | None, version: int
    ) -> Difference | None:
        """Return how an object differs from a list at a resource version, None if not at all."""
        return self._world.difference(selection.watch_class, ref, listed, version)

    def repair(self, manifest: Manifest) -> None:
        """Take in the current state of an object, whichever version the world knows."""
        self._world.distrust(manifest)
        self._engine.observe(manifest)


class MetadataCache(Cache):
    """Cache of brokers and policies of which only the metadata is read, apart from the others.

    The API server sends nothing else of them. If it did, nothing else would be taken in.
    """

    def observe(self, manifest: Manifest) -> None:
        """Take in the current metadata of an object."""
        super().observe(_metadata_of(manifest))

    def is_past(self, manifest: Manifest, version: int) -> bool:
        """Return whether an object of a list at a resource version is older than it was by then."""
        return super().is_past(_metadata_of(manifest), version)

    def repair(self, manifest: Manifest) -> None:
        """Take in the current metadata of an object, whichever version the world knows."""
        super().repair(_metadata_of(manifest))


def _metadata_of(manifest: Manifest) -> Manifest:
    kept = {each: manifest[each] for each in ("metadata", UNREADABLE) if each in manifest}
    return {"kind": METADATA_OF[manifest["kind"]], **kept}
