"""What is on a dead-letter topic: letters, records of decisions, and messages that are neither.

Consumers may publish on the topic, and so may every program that the broker lets. A message counts
only if its seal verifies, and a letter only if its ID is that of its own message: an ID that a
consumer chooses could hide the letter of another one.
"""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from time import time
from typing import Final

from troth.documents.identity.document import Messages
from troth.edge.events.case import Case
from troth.edge.events.consumption.dead_letters import DATA, DeadLetter, DeadLetterReader
from troth.edge.events.consumption.letter_ids import letter_id
from troth.edge.events.message import Message
from troth.edge.events.opening import Opener
from troth.edge.events.redriving import RedriveSealer
from troth.edge.events.rejection import Reason, RejectedError, Rejection
from troth.edge.events.rights import rights_of
from troth.edge.identity.files import Identity
from troth.pki.encodings import base64url
from troth.resources.references import Ref
from troth.review.brokers import Stored
from troth.review.letters.digest import digest_of
from troth.review.letters.letter import Letter
from troth.review.letters.records import Record, Records, is_record

MOST_BYTES: Final = 16 * 1024 * 1024
"""Maximum size of a letter's data in bytes.

It is more than a consumer accepts, because a message that is too large for the consumer becomes a
letter too.
"""

# A message that no log stores has no place, so its letter has a random ID. No ID of a letter with a
# place has this form.
_RANDOM = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)


class LetterReader:
    """Reads the messages of one dead-letter topic. Threads may share it."""

    def __init__(
        self, identity: Identity, policy: str, *, clock: Callable[[], float] = time
    ) -> None:
        """Create it without reading any file.

        `policy` is `<namespace>/<name>`. `clock` returns seconds since the epoch.
        """
        self.policy = Ref.parse(policy)
        self._identity = identity
        self._letters = DeadLetterReader(
            identity, policy, action="Review", most_bytes=MOST_BYTES, clock=clock
        )
        self._records = Records(identity, policy, clock=clock)
        self._original = _OriginalOpener(identity, policy, most_bytes=MOST_BYTES, clock=clock)
        self._sealer = RedriveSealer(identity, policy, clock=clock)

    @property
    def entry(self) -> Messages:
        """This workload's entry in `identity.json`; raises `RejectedError` without one.

        Raises `IdentityError` if this workload has never had usable files.
        """
        return rights_of(self._identity.current, str(self.policy), "Review", None).granted

    def read(self, stored: Stored) -> Letter | Record | Rejection:
        """Return what a message is, or the reason why it is neither a letter nor a record.

        Raises `RejectedError` if this workload may not review by the policy, and `IdentityError`
        if it has never had usable files: then nothing is known about the message.
        """
        entry = self.entry
        if is_record(stored.message):
            return self._records.read(stored.message)
        read = self._letters.read(stored.message)
        if isinstance(read, Rejection):
            return read
        try:
            group = _group(read, entry)
        except RejectedError as error:
            return error.rejection
        return self._letter(stored, read, group)

    def original(self, stored: Stored) -> DeadLetter:
        """Return the whole dead letter in a message that `read` has read.

        Raises `RejectedError` if it is no valid dead letter, and `IdentityError` as `read` does.
        """
        read = self._letters.read(stored.message)
        if isinstance(read, Rejection):
            raise RejectedError(read.reason, read.detail)
        return read

    def _letter(self, stored: Stored, read: DeadLetter, group: str | None) -> Letter:
        message = read.message
        proven = self._original.proven(message)
        size = read.data_size if DATA in read.omitted else None
        return Letter(
            id=read.id,
            policy=self.policy,
            position=stored.position,
            time=read.time,
            consumer=read.consumer,
            group=group,
            reason=str(read.rejection.reason),
            origin=read.origin,
            attempts=read.attempts,
            digest=digest_of(message),
            size=len(message.data or b"") if size is None else size,
            event_id=proven.event_id,
            producer=proven.producer,
            tenant=proven.tenant,
            redrives=self._sealer.redrives_of(message),
        )


@dataclass(frozen=True, slots=True)
class _Proven:
    """Attributes of a message that its producer signed."""

    event_id: str | None = None
    producer: str | None = None
    tenant: str | None = None


class _OriginalOpener(Opener):
    """Opener that verifies who sealed a message, and nothing else."""

    action = "Review"

    def proven(self, message: Message) -> _Proven:
        """Return what the producer signed, nothing if the signature does not verify."""
        case = Case(message, self._identity.current, self._clock())
        try:
            self.check_grant(case)
            self.check_form(case)
            self.check_seal(case)
            self.check_certificate(case)
            self.check_signature(case)
        except RejectedError:
            return _Proven()
        attributes = case.attributes
        return _Proven(attributes["id"], case.actor, attributes.get("trothtenant"))


def _group(letter: DeadLetter, entry: Messages) -> str | None:
    """Return the consumer's group; raises `RejectedError` unless the ID is that of the message."""
    groups = [letter.group]
    if letter.group is None:  # of a consumer without a group, or of an earlier release
        groups += [each.group for each in entry.consumers if letter.consumer in each.spiffe_ids]
    if letter.message.offset is None:
        if _RANDOM.fullmatch(letter.id) is None:
            raise RejectedError(
                Reason.MALFORMED, "the ID of a dead letter without an offset is not a UUID"
            )
        return groups[-1]
    digest = letter.data_digest
    if DATA not in letter.omitted or digest is None:
        digest = base64url.encode(hashlib.sha256(letter.message.data or b"").digest())
    for group in groups:
        expected = letter_id(letter.consumer, letter.policy, group, letter.origin, digest)
        if expected == letter.id:
            return group
    raise RejectedError(
        Reason.MALFORMED,
        "the ID of the dead letter is not that of its message, for any group that the consumer has",
    )
