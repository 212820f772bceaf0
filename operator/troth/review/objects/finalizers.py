"""The finalizer of a review that is carried out: its deletion is a withdrawal."""

from typing import Protocol

from troth.cluster.errors import ApiError
from troth.resources.references import Ref
from troth.resources.reviews.dead_letter_review import DeadLetterReview
from troth.world.facts.objects import Manifest

FINALIZER = "troth.dev/review"
"""Finalizer of a review that is carried out."""
NOT_FOUND, CONFLICT = 404, 409


class Objects(Protocol):
    """The part of the API server's client that writes finalizers."""

    async def merge_patch(
        self, kind: str, ref: Ref, patch: Manifest, subresource: str = ""
    ) -> Manifest:
        """Apply a merge patch; raises `ApiError`."""


class Finalizers:
    """Adds and removes the finalizer."""

    def __init__(self, server: Objects) -> None:
        self._server = server

    async def add(self, review: DeadLetterReview) -> bool:
        """Add the finalizer; return False if the review no longer exists, or is being deleted.

        Raises `ApiError`.
        """
        metadata = review.metadata
        if FINALIZER in metadata.finalizers:
            return True
        if metadata.deletion_timestamp is not None:
            return False
        return await self._write(review, [*metadata.finalizers, FINALIZER])

    async def remove(self, review: DeadLetterReview) -> None:
        """Remove the finalizer, if the review has it; raises `ApiError`."""
        found = review.metadata.finalizers
        if FINALIZER in found:
            await self._write(review, [each for each in found if each != FINALIZER])

    async def current(self, review: DeadLetterReview) -> DeadLetterReview | None:
        """Return a review as the API server has it now, None if it no longer exists.

        Raises `ApiError`.
        """
        try:
            read = await self._server.merge_patch(
                review.kind, review.ref, {"metadata": {"uid": review.metadata.uid}}
            )
        except ApiError as error:
            if error.status in (NOT_FOUND, CONFLICT):
                return None
            raise
        return DeadLetterReview.model_validate(read)

    async def _write(self, review: DeadLetterReview, finalizers: list[str]) -> bool:
        """Write the finalizers, and once more if somebody has written the review since."""
        metadata: Manifest = {"uid": review.metadata.uid, "finalizers": finalizers}
        metadata["resourceVersion"] = review.metadata.resource_version
        try:
            return await self._patch(review, metadata)
        except ApiError as error:
            if error.status != CONFLICT:
                raise
        # The version is that of a status written since. Read what others have added.
        now = await self.current(review)
        if now is None:
            return False
        others = {each for each in now.metadata.finalizers if each != FINALIZER}
        if FINALIZER in finalizers:
            if now.metadata.deletion_timestamp is not None:
                return False
            others.add(FINALIZER)
        metadata["finalizers"] = sorted(others)
        metadata["resourceVersion"] = now.metadata.resource_version
        return await self._patch(review, metadata)

    async def _patch(self, review: DeadLetterReview, metadata: Manifest) -> bool:
        try:
            await self._server.merge_patch(review.kind, review.ref, {"metadata": metadata})
        except ApiError as error:
            if error.status == NOT_FOUND:
                return False
            raise
        return True
