"""Records of what was done with letters, sealed by the reviewer on the dead-letter topic.

A record is an event of the type `dev.troth.deadletter.record.v1` beside the letters themselves.
The topic is the only place that says which letters are settled: the worker's index is rebuilt from
it. So the form is strict, and every part of it is bounded.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from time import time
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from troth.documents.event_bundles import TOLERANCE
from troth.edge.events.attributes import SIGNED, SPEC_VERSION, write_time
from troth.edge.events.case import Case
from troth.edge.events.message import Message, Sealed
from troth.edge.events.opening import Opener
from troth.edge.events.rejection import Reason, RejectedError, Rejection
from troth.edge.events.rights import rights_of
from troth.edge.events.seal.signer import CurrentSigner
from troth.edge.identity.files import Identity
from troth.pki.encodings import strict_json
from troth.pki.encodings.random_uuid import random_uuid
from troth.resources.references import Ref
from troth.resources.reviews.dead_letter_review import LetterID, ReasonName
from troth.resources.reviews.dead_letter_review_status import LetterOutcome
from troth.resources.schema.scalars import Moment, Name, NamespaceName
from troth.review.letters.letter import LetterState

TYPE: Final = "dev.troth.deadletter.record.v1"
"""Value of the attribute `type` of a record."""
MOST_OUTCOMES = 500
"""Maximum number of letters of one record."""
MOST_BYTES = 256 * 1024
"""Maximum size of a record's data in bytes."""
STATES = {
    LetterOutcome.REDRIVEN: LetterState.REDRIVEN,
    LetterOutcome.DISCARDED: LetterState.DISCARDED,
    LetterOutcome.QUARANTINED: LetterState.QUARANTINED,
}
"""Outcomes that settle a letter, and its state from then on. With the others, it stays as it is."""

_CONTENT_TYPE = "application/json"
_VALUES_OF_A_LETTER = 8


@dataclass(frozen=True, slots=True)
class RecordedOutcome:
    """Letter that a review settled: its ID, the digest of its message, and what was done."""

    id: str
    digest: str
    outcome: LetterOutcome
    reason: str | None = None

    @property
    def state(self) -> LetterState:
        """State of the letter from now on."""
        return STATES[self.outcome]


@dataclass(frozen=True, slots=True)
class Record:
    """Letters that a review settled in one batch. `uid` is that of the review."""

    review: Ref
    uid: str
    outcomes: tuple[RecordedOutcome, ...]
    at: datetime


def write(record: Record) -> bytes:
    """Return the data of a record; raises `ValueError` for one that `parse` would reject."""
    letters = [
        {
            name: value
            for name, value in (
                ("digest", each.digest),
                ("id", each.id),
                ("outcome", str(each.outcome)),
                ("reason", each.reason),
            )
            if value is not None
        }
        for each in record.outcomes
    ]
    content = {
        "at": write_time(int(record.at.timestamp())),
        "letters": letters,
        "review": {"name": record.review.name, "namespace": record.review.namespace},
        "uid": record.uid,
        "version": "v1",
    }
    data = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
    parse(data)
    return data


def parse(data: bytes) -> Record:
    """Return the record in an event's data; raises `ValueError`, which quotes nothing of it."""
    if len(data) > MOST_BYTES:
        raise ValueError(f"a record has at most {MOST_BYTES} bytes")
    values = strict_json.parse(data, most=_VALUES_OF_A_LETTER * (MOST_OUTCOMES + 2))
    try:
        read = _Data.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    outcomes = tuple(
        RecordedOutcome(each.id, each.digest, LetterOutcome(each.outcome), each.reason)
        for each in read.letters
    )
    if len({each.id for each in outcomes}) != len(outcomes):
        raise ValueError("letters: a letter is listed twice")
    return Record(Ref(read.review.namespace, read.review.name), read.uid, outcomes, read.at)


class Records:
    """Seals and reads the records of one policy. It may be shared by threads."""

    def __init__(
        self, identity: Identity, policy: str, *, clock: Callable[[], float] = time
    ) -> None:
        """Create it without reading any file. `policy` is `<namespace>/<name>`.

        `clock` returns seconds since the epoch.
        """
        self.policy = policy
        self._identity = identity
        self._clock = clock
        self._signer = CurrentSigner()
        self._opener = _Opener(identity, policy, most_bytes=MOST_BYTES, clock=clock)

    def seal(self, record: Record) -> Sealed:
        """Return a record as an event for the dead-letter topic.

        Raises `RejectedError` if this workload may not review by the policy or its certificate has
        expired, `IdentityError` if it has no certificate, and `ValueError` for a malformed record.
        """
        snapshot = self._identity.current
        granted = rights_of(snapshot, self.policy, "Review", None).granted
        assert granted.dead_letter is not None
        now = int(self._clock())
        attributes = {
            "id": random_uuid(),
            "source": snapshot.spiffe_id,
            "specversion": SPEC_VERSION,
            "type": TYPE,
            "datacontenttype": _CONTENT_TYPE,
            "time": write_time(now),
            "trothpolicy": granted.policy,
            "trothbroker": granted.broker,
            "trothtopic": granted.dead_letter.topic,
            "trothenvironment": granted.environment,
        }
        return self._signer.seal(snapshot, attributes, write(record), SIGNED, now)

    def read(self, message: Message) -> Record | Rejection:
        """Return the record in a message, or the reason for which it is rejected.

        Only records of this reviewer itself are accepted, under each of its SPIFFE IDs: consumers
        may publish on the topic too.
        Raises `IdentityError` if this workload has never had usable files.
        """
        case = Case(message, self._identity.current, self._clock())
        try:
            self._opener.verify(case)
            return parse(case.data)
        except RejectedError as error:
            return replace(error.rejection, actor=case.actor)
        except ValueError as error:
            return Rejection(Reason.MALFORMED, f"the record is malformed: {error}", case.actor)


def is_record(message: Message) -> bool:
    """Return whether a message says that it is a record. Nothing of it is verified."""
    return message.attributes.get("type") == TYPE


class _Opener(Opener):
    """Opener that verifies the seal of a record."""

    action = "Review"

    def verify(self, case: Case) -> None:
        self.check_grant(case)
        self.check_form(case)
        self.check_seal(case)
        self.check_certificate(case)
        self.check_signature(case)
        self.check_environment(case)
        self.check_policy(case)
        _check_reviewer(case)
        _check_place(case)
        _check_time(case)


def _check_reviewer(case: Case) -> None:
    if case.svid.spiffe_id not in case.rights.reviewers:
        raise RejectedError(
            Reason.PRODUCER_NOT_GRANTED, f"records of {case.svid.spiffe_id} are not accepted"
        )


def _check_place(case: Case) -> None:
    declared = case.rights.granted.dead_letter
    if case.attributes["type"] != TYPE:
        raise RejectedError(Reason.MALFORMED, f"the event is no record: its type is not {TYPE}")
    if declared is None or not (
        case.attributes["trothtopic"] == case.message.topic == declared.topic
    ):
        raise RejectedError(
            Reason.WRONG_TOPIC, "the record is not on the policy's dead-letter topic"
        )


def _check_time(case: Case) -> None:
    # A record does not expire. The broker's time bounds what an old key can say.
    if case.time - case.now > TOLERANCE:
        raise RejectedError(
            Reason.NOT_YET_VALID,
            f"the record is from {int(case.time - case.now)} s in the future; correct the clock "
            "that is wrong",
        )
    stored = case.message.stored_at
    if stored is not None and abs(stored - case.time) > TOLERANCE:
        raise RejectedError(
            Reason.TIME_MISMATCH,
            f"the broker stored the record {int(stored - case.time)} s after its time; at most "
            f"{int(TOLERANCE)} s are allowed",
        )


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class _Review(_Part):
    namespace: NamespaceName
    name: Name


class _Letter(_Part):
    id: LetterID
    digest: Annotated[str, StringConstraints(pattern="^[A-Za-z0-9_-]{43}$")]
    outcome: Literal["Redriven", "Discarded", "Quarantined"]
    reason: ReasonName | None = None


class _Data(_Part):
    version: Literal["v1"]
    review: _Review
    uid: Annotated[str, StringConstraints(pattern="^[A-Za-z0-9-]{1,64}$")]
    at: Moment
    letters: Annotated[list[_Letter], Field(min_length=1, max_length=MOST_OUTCOMES)]
