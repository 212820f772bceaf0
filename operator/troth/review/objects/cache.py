"""The reviews and policies of the cluster, as informers keep them."""

import asyncio
from collections.abc import Collection, Iterator

import structlog
from pydantic import ValidationError

from troth.cluster.selection import Selection
from troth.resources.references import Ref
from troth.resources.reviews.dead_letter_review import DeadLetterReview
from troth.world.facts.objects import Manifest

REVIEW, POLICY = "DeadLetterReview", "TopicPolicy"

log = structlog.get_logger()


class ReviewCache:
    """Sink of the informers. Reviews are parsed once for each of their versions."""

    def __init__(self) -> None:
        self._versions: dict[tuple[str, Ref], int] = {}
        self.reviews: dict[Ref, DeadLetterReview] = {}
        self.policies: dict[Ref, Manifest] = {}
        self._listed: set[Selection] = set()
        self.changed = asyncio.Event()
        """Set at each change, and cleared by who waits."""

    def of(self, policy: Ref) -> list[DeadLetterReview]:
        """Return the reviews of a policy, the oldest first."""
        return sorted((each for each in self.reviews.values() if each.policy == policy), key=_age)

    def uids(self) -> set[str]:
        """Return the UIDs of all reviews and policies."""
        reviews = {each.metadata.uid for each in self.reviews.values()}
        return reviews | {each["metadata"]["uid"] for each in self.policies.values()}

    def is_listed(self, selections: Collection[Selection]) -> bool:
        """Return whether each of some selections was listed."""
        return self._listed.issuperset(selections)

    # As an informer's sink

    def observe(self, manifest: Manifest) -> None:
        """Take in the current state of an object."""
        kind, ref = manifest["kind"], Ref.of(manifest)
        version = int(manifest["metadata"]["resourceVersion"])
        if version < self._versions.get((kind, ref), 0):
            return
        self._versions[kind, ref] = version
        if kind == POLICY:
            self.policies[ref] = {"metadata": manifest["metadata"], "spec": manifest["spec"]}
        else:
            self._take(ref, manifest)
        self.changed.set()

    def forget(self, kind: str, ref: Ref, version: int) -> None:
        """Take in that an object did not exist at a resource version."""
        if version < self._versions.get((kind, ref), 0):
            return
        self._versions.pop((kind, ref), None)
        (self.policies if kind == POLICY else self.reviews).pop(ref, None)
        self.changed.set()

    def is_past(self, manifest: Manifest, version: int) -> bool:
        """Return whether an object of a list is older than it was observed to be."""
        known = self._versions.get((manifest["kind"], Ref.of(manifest)), 0)
        return int(manifest["metadata"]["resourceVersion"]) < known <= version

    def known(self, selection: Selection) -> Collection[Ref]:
        """Return the objects of a selection that are known."""
        return [
            ref for kind, ref in self._versions if kind == selection.kind and selection.covers(ref)
        ]

    def listed(self, selection: Selection, version: int) -> None:  # noqa: ARG002 - a sink's method
        """Take in that a whole list was observed."""
        self._listed.add(selection)
        self.changed.set()

    def _take(self, ref: Ref, manifest: Manifest) -> None:
        try:
            self.reviews[ref] = DeadLetterReview.model_validate(manifest)
        except ValidationError as error:
            # a newer version wrote it, and may mean something that this one cannot hold to
            self.reviews.pop(ref, None)
            log.warning("review not read", review=str(ref), faults=error.error_count())


def _age(review: DeadLetterReview) -> tuple[float, str]:
    created = review.metadata.creation_timestamp
    return (created.timestamp() if created else 0.0, review.metadata.name)


def reviewers(policy: Manifest) -> Iterator[Ref]:
    """Yield the ServiceIdentity that reviews the dead letters of a policy, if it names one."""
    named = (policy["spec"].get("deadLetter") or {}).get("reviewer")
    if named:
        own = policy["metadata"]["namespace"]
        yield Ref(named.get("namespace") or own, named["name"])
