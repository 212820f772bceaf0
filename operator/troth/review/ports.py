"""What carrying out a review needs of the worker's other parts."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Protocol

from troth.edge.events.consumption.dead_letters import DeadLetter
from troth.resources.references import Ref
from troth.resources.reviews.dead_letter_review import Letters
from troth.review.brokers import Stored
from troth.review.index.holds import Holds
from troth.review.index.portion import Portion
from troth.review.letters.letter import Letter
from troth.review.trail.decisions import Decision


class Index(Protocol):
    """The index of letters. Its methods block, so call them in a thread."""

    @property
    def holds(self) -> Holds:
        """Letters of the reviews that are carried out."""

    def feed(self, policy: Ref, portion: Portion) -> None:
        """Add letters and decisions, in one transaction."""

    def selected(
        self,
        policy: Ref,
        select: Letters,
        until: datetime,
        *,
        at: datetime,
        uid: str,
        ends: Mapping[int, int] | None = None,
    ) -> Iterator[Letter]:
        """Yield the letters that a review selected at a time, in the order of their places.

        These are the open ones, those that were settled since, and those that the review settled,
        which `uid` names. A quarantined letter is open only for a selection that lists IDs. `ends`
        are the offsets by partition below which the letters are, None for all that are indexed.
        """

    def positions(self, policy: Ref) -> dict[int, int]:
        """Return the next offset to read, by partition."""


class Following(Protocol):
    """What feeds the index."""

    @property
    def rebuilds(self) -> int:
        """Number of times that the index began again."""

    @property
    def whole(self) -> bool:
        """Whether the index has all that was on the topic when it began."""

    async def caught_up(self) -> None:
        """Return once the index has every letter that is on the topic now.

        Raises `BrokerUnavailableError`. While the topic cannot be read, this waits.
        """


class Originals(Protocol):
    """Reads whole dead letters."""

    def original(self, stored: Stored) -> DeadLetter:
        """Return a dead letter, with its message.

        Raises `RejectedError` if it is not valid, with `NotGranted` if this workload may not review
        by the policy, and `IdentityError` if it has never had usable files.
        """


class RedriveHeaders(Protocol):
    """Writes the header of a redrive."""

    def header(
        self,
        letter: DeadLetter,
        *,
        review: Ref | str,
        requested_by: str,
        approved_by: str | None,
        count: int,
        target: str,
        redrive_id: str,
    ) -> tuple[str, bytes]:
        """Return the header's name and value.

        Raises `RejectedError` or `IdentityError` if this workload cannot sign.
        """


class Audit(Protocol):
    """The audit log."""

    @property
    def fault(self) -> str | None:
        """Why no decision can be appended at the moment, None if one can."""

    async def append(self, entry: Decision) -> int:
        """Write an entry and return its number; it waits while the log cannot be written."""
