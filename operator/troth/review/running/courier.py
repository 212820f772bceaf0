"""One batch of a redrive: fetch the letters, judge them, and deliver their messages again."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from troth.edge.events.consumption.dead_letters import DeadLetter
from troth.edge.events.redrive import original_headers, redrive_id
from troth.edge.events.rejection import Reason, RejectedError
from troth.resources.references import Ref
from troth.resources.reviews.dead_letter_review_status import LetterOutcome
from troth.review.brokers import (
    BrokerUnavailableError,
    DeadLetterTopic,
    NotStoredError,
    Redelivery,
    Stored,
    TooLargeError,
    UnsendableError,
)
from troth.review.letters.judgement import GONE, Judge, Obstacle, Redrivable
from troth.review.letters.letter import Letter, Position
from troth.review.ports import Originals, RedriveHeaders
from troth.review.running.progress import Outcome

TOO_LARGE = "TooLarge"
"""Reason of a letter whose message the broker does not accept in this size."""
UNSENDABLE = "Unsendable"
"""Reason of a letter whose message the broker's protocol cannot carry."""

# Reasons for which no redrive can be sealed: the worker lacks the grant or a valid certificate.
_OF_THE_WORKER = frozenset({Reason.NOT_GRANTED, Reason.CERTIFICATE_INVALID})


@dataclass(frozen=True, slots=True)
class Authority:
    """The review in whose name messages are delivered again, and its users."""

    review: Ref
    uid: str
    requested_by: str
    approved_by: str | None


@dataclass(frozen=True, slots=True)
class Parcel:
    """Letter that can be redriven, with the message to deliver."""

    letter: Letter
    redelivery: Redelivery = field(repr=False)


@dataclass(frozen=True, slots=True)
class Prepared:
    """Letters of a batch: those to deliver, and the outcomes of the others."""

    parcels: Sequence[Parcel]
    outcomes: Sequence[Outcome]


@dataclass(frozen=True, slots=True)
class Delivered:
    """Result of an attempt: outcomes, the letters to try again, and why.

    `uncertain` has the IDs of those of `left` that the broker has perhaps stored.
    """

    outcomes: Sequence[Outcome] = ()
    left: Sequence[Parcel] = ()
    fault: BrokerUnavailableError | None = None
    uncertain: Collection[str] = ()


class Source(Protocol):
    """Reads letters from their topic."""

    async def fetch(self, letters: Sequence[Letter]) -> Mapping[Position, Stored]:
        """Return what the broker still has of letters; raises `BrokerUnavailableError`."""


class Courier:
    """Redrives the letters of one policy."""

    def __init__(
        self,
        topic: DeadLetterTopic,
        source: Source,
        originals: Originals,
        judge: Judge,
        headers: RedriveHeaders,
    ) -> None:
        self._topic = topic
        self._source = source
        self._originals = originals
        self._judge = judge
        self._headers = headers

    async def prepare(self, letters: Sequence[Letter], authority: Authority) -> Prepared:
        """Return what to deliver of a batch.

        Raises `BrokerUnavailableError`; also `RejectedError` and `IdentityError` if this workload
        may not review by the policy, or cannot sign.
        """
        stored = await self._source.fetch(letters)
        return await asyncio.to_thread(self._prepare, letters, stored, authority)

    async def deliver(self, parcels: Sequence[Parcel]) -> Delivered:
        """Deliver messages once, and return what became of each."""
        if not parcels:
            return Delivered()
        try:
            results = await self._topic.redeliver([each.redelivery for each in parcels])
        except BrokerUnavailableError as error:
            results = [error] * len(parcels)
        outcomes, left = [], []
        fault: BrokerUnavailableError | None = None
        uncertain = set()
        for parcel, result in zip(parcels, results, strict=True):
            if result is None:
                outcomes.append(outcome(parcel.letter, LetterOutcome.REDRIVEN))
            elif isinstance(result, TooLargeError):
                outcomes.append(outcome(parcel.letter, LetterOutcome.FAILED, TOO_LARGE))
            elif isinstance(result, UnsendableError):
                outcomes.append(outcome(parcel.letter, LetterOutcome.FAILED, UNSENDABLE))
            elif isinstance(result, BrokerUnavailableError):
                left.append(parcel)
                fault = fault or result
                if not isinstance(result, NotStoredError):
                    uncertain.add(parcel.letter.id)
            else:
                raise result
        return Delivered(outcomes, left, fault, uncertain)

    def _prepare(
        self, letters: Sequence[Letter], stored: Mapping[Position, Stored], authority: Authority
    ) -> Prepared:
        parcels, outcomes = [], []
        for letter in letters:
            made = self._parcel(letter, stored.get(letter.position), authority)
            if isinstance(made, Parcel):
                parcels.append(made)
            else:
                outcomes.append(made)
        return Prepared(parcels, outcomes)

    def _parcel(
        self, letter: Letter, stored: Stored | None, authority: Authority
    ) -> Parcel | Outcome:
        if stored is None:
            return outcome(letter, LetterOutcome.SKIPPED, GONE)
        try:
            found = self._originals.original(stored)
        except RejectedError as error:
            if error.rejection.reason is Reason.NOT_GRANTED:
                raise
            return outcome(letter, LetterOutcome.SKIPPED, str(error.rejection.reason))
        judged = self._judge.judge(letter, found)
        if isinstance(judged, Obstacle):
            return outcome(letter, judged.outcome, judged.reason)
        name = redrive_id(authority.uid, letter.id)
        try:
            header = self._header(found, judged, name, authority)
        except RejectedError as error:
            if error.rejection.reason in _OF_THE_WORKER:
                raise
            return outcome(letter, LetterOutcome.FAILED, str(error.rejection.reason))
        message = found.message
        headers = (*original_headers(message.headers), header)
        data = message.data or b""
        return Parcel(letter, Redelivery(name, judged.target, headers, data, key=stored.key))

    def _header(
        self, found: DeadLetter, judged: Redrivable, name: str, authority: Authority
    ) -> tuple[str, bytes]:
        return self._headers.header(
            found,
            review=authority.review,
            requested_by=authority.requested_by,
            approved_by=authority.approved_by,
            count=judged.redrives + 1,
            target=judged.target,
            redrive_id=name,
        )


def outcome(letter: Letter, what: LetterOutcome, reason: str | None = None) -> Outcome:
    """Return the outcome of a letter."""
    return Outcome(letter.id, letter.digest, what, reason)
