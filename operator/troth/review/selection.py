"""The letters that a review selects, as a number and a digest."""

import asyncio
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from typing import Final

from troth.resources.reviews.dead_letter_review import DeadLetterReview
from troth.resources.reviews.dead_letter_review_status import SelectionStatus
from troth.review.brokers import BrokerUnavailableError
from troth.review.letters.digest import digest_of_selection
from troth.review.letters.letter import Letter
from troth.review.ports import Following, Index

PATIENCE_SECONDS: Final = 10.0
"""Maximum time that a selection waits for the index."""

Ends = Mapping[int, int]
"""Offsets by partition, below which the letters of a selection are."""


class Selector:
    """Selects the letters of one policy's reviews.

    For as long as the process lives, a letter that arrives after the selection of a review is not
    in it, whatever time it has. Afterwards, the digest shows that the selection has changed.
    """

    def __init__(self, index: Index) -> None:
        self._index = index
        self._ends: dict[str, tuple[int, Ends]] = {}

    async def select(
        self, review: DeadLetterReview, at: datetime, following: Following
    ) -> SelectionStatus:
        """Select letters; raises `BrokerUnavailableError` while the index lacks some."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await following.caught_up()
        except TimeoutError:
            raise _incomplete() from None
        rebuilds = following.rebuilds
        ends = await asyncio.to_thread(self._index.positions, review.policy)
        self._ends[review.metadata.uid] = rebuilds, ends
        return await self.again(review, at, following)

    async def again(
        self, review: DeadLetterReview, at: datetime, following: Following
    ) -> SelectionStatus:
        """Return what a review that selected at a time would select now; raises as `select`."""
        rebuilds, ends = following.rebuilds, self.ends(review, following)
        found = await asyncio.to_thread(selection_of, self._index, review, at, ends)
        if not following.whole or following.rebuilds != rebuilds:
            raise _incomplete()
        return found

    def ends(self, review: DeadLetterReview, following: Following) -> Ends | None:
        """Return where the letters of a review end, None if that is not known any more."""
        rebuilds, ends = self._ends.get(review.metadata.uid, (-1, None))
        return ends if rebuilds == following.rebuilds else None

    def forget_all_but(self, uids: Collection[str]) -> None:
        """Forget the reviews that do not exist any more."""
        self._ends = {uid: each for uid, each in self._ends.items() if uid in uids}


def _incomplete() -> BrokerUnavailableError:
    return BrokerUnavailableError("the index of letters is being read from the topic")


def selection_of(
    index: Index, review: DeadLetterReview, at: datetime, ends: Ends | None = None
) -> SelectionStatus:
    """Return the letters that a review selected at a time. It blocks, and needs flat memory."""
    count = 0

    def counted() -> Iterator[tuple[str, str]]:
        nonlocal count
        created = created_at(review)
        uid = review.metadata.uid
        for each in letters_of(index, review, uid=uid, created=created, at=at, ends=ends):
            count += 1
            yield each.id, each.digest

    digest = digest_of_selection(counted())
    return SelectionStatus(count=count, digest=digest, at=at)


def letters_of(
    index: Index,
    review: DeadLetterReview,
    *,
    uid: str,
    created: datetime,
    at: datetime,
    ends: Ends | None,
) -> Iterator[Letter]:
    """Yield the letters that a review selected at a time."""
    until = review.until(created)
    return index.selected(review.policy, review.spec.select, until, at=at, uid=uid, ends=ends)


def created_at(review: DeadLetterReview) -> datetime:
    """Return the time at which a review was created, which the API server sets."""
    created = review.metadata.creation_timestamp
    assert created is not None
    return created
