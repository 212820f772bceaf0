"""Dead letters: rejected messages, sealed by the consumer that rejected them.

A dead letter is an event of the type `dev.troth.deadletter.v1` on the policy's dead-letter topic.
It has the original data unchanged, and in signed attributes the original headers, so the producer's
seal stays intact. If a broker does not accept it in full, data or headers are omitted.

`DeadLetters` seals them, and `DeadLetterReader` reads them. The message that it restores can be
opened again by an `Opener`, for example after the producer got its grant.
"""

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from time import time
from typing import Final, Literal

from troth.documents.event_bundles import TOLERANCE
from troth.edge.events.attributes import (
    DEAD_LETTER,
    DEAD_LETTER_WITHOUT_GROUP,
    LONGEST_VALUE,
    SPEC_VERSION,
    is_content_type,
    moment_of,
    write_time,
)
from troth.edge.events.case import Case
from troth.edge.events.consumption.letter_form import (
    count_of,
    digest,
    read_headers,
    restored,
    written_headers,
)
from troth.edge.events.consumption.letter_ids import letter_id
from troth.edge.events.message import Message, Sealed
from troth.edge.events.opening import MOST_BYTES, Opener
from troth.edge.events.rejection import Reason, RejectedError, Rejection
from troth.edge.events.rights import rights_of
from troth.edge.events.seal.signer import CurrentSigner
from troth.edge.events.seal.verification import compare_seal
from troth.edge.identity.files import Identity
from troth.edge.identity.snapshot import Snapshot

TYPE: Final = "dev.troth.deadletter.v1"
"""Value of the attribute `type` of a dead letter."""

DATA: Final = "data"
HEADERS: Final = "headers"
OMISSIONS: Final = (
    frozenset[str](),
    frozenset({DATA}),
    frozenset({HEADERS}),
    frozenset({DATA, HEADERS}),
)
"""Parts to omit, from nothing to all, in the order in which a consumer tries them."""

_OCTETS = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Dead letter whose every field is verified, except `message`.

    `consumer` is the SPIFFE ID of the workload that rejected the message, and `policy` the policy
    by which it consumed. `rejection` has no actor. `attempts` counts the calls of the handler, 0 if
    it was not called. `message` is the original message as it was delivered; nothing of it is
    verified, so open it with an `Opener`. `omitted` are the parts that it lacks: `data`, `headers`.
    `data_digest` (SHA-256, base64url) and `data_size` (in bytes) describe omitted data. `group` is
    the consumer's group, None without one and in the dead letters of earlier releases.
    """

    id: str
    consumer: str
    policy: str
    rejection: Rejection
    origin: str
    attempts: int
    time: datetime
    message: Message
    omitted: frozenset[str] = frozenset()
    data_digest: str | None = None
    data_size: int | None = None
    group: str | None = None


class DeadLetters:
    """Seals the dead letters of one consumer. It may be shared by threads."""

    def __init__(
        self,
        identity: Identity,
        policy: str,
        *,
        group: str | None = None,
        clock: Callable[[], float] = time,
    ) -> None:
        """Create a sealer of dead letters without reading any file.

        `policy` and `group` are those of the consumer's `Opener`. `clock` returns seconds since the
        epoch.
        """
        self.policy = policy
        self._identity = identity
        self._group = group
        self._clock = clock
        self._signer = CurrentSigner()

    def seal(
        self,
        message: Message,
        rejection: Rejection,
        *,
        attempts: int = 0,
        omit: frozenset[str] = frozenset(),
    ) -> Sealed | None:
        """Return the dead letter of a message, None if the policy declares no dead-letter topic.

        `attempts` counts the calls of the handler. `omit` is one of `OMISSIONS`. Headers of more
        than 256 KiB in base64 are always omitted. A tombstone becomes empty data. Two dead letters
        of one message of a log have the same ID.

        Raises `RejectedError` if this workload may not consume by the policy or its certificate has
        expired, and `IdentityError` if it has no certificate.
        """
        snapshot = self._identity.current
        granted = rights_of(snapshot, self.policy, "Consume", self._group).granted
        if granted.dead_letter is None:
            return None
        headers = None if HEADERS in omit else written_headers(message.headers)
        omitted = omit if headers is not None else omit | {HEADERS}
        now = int(self._clock())
        content_type = message.attributes.get("datacontenttype", _OCTETS)
        attributes = {
            "id": _id(snapshot, self.policy, granted.group, message),
            "source": snapshot.spiffe_id,
            "specversion": SPEC_VERSION,
            "type": TYPE,
            "datacontenttype": content_type if is_content_type(content_type) else _OCTETS,
            "time": write_time(now),
            "trothpolicy": granted.policy,
            "trothbroker": granted.broker,
            "trothtopic": granted.dead_letter.topic,
            "trothenvironment": granted.environment,
            "trothreason": str(rejection.reason),
            "trothdetail": rejection.detail[:LONGEST_VALUE],
            "trothorigin": message.origin,
            "trothattempts": str(attempts),
        }
        if message.stored_at is not None:
            attributes["trothstored"] = write_time(int(message.stored_at))
        if headers is not None:
            attributes["trothheaders"] = headers
        if omitted:
            attributes["trothomitted"] = " ".join(sorted(omitted))
        data = message.data or b""
        if DATA in omitted:
            attributes["trothdatadigest"] = digest(data)
            attributes["trothdatasize"] = str(len(data))
            data = b""
        if granted.group is not None:
            attributes["trothgroup"] = granted.group
        return self._signer.seal(snapshot, attributes, data, _signed(attributes), now)


class DeadLetterReader:
    """Reads dead letters of one topic."""

    def __init__(
        self,
        identity: Identity,
        policy: str,
        *,
        consumers: Iterable[str] | None = None,
        group: str | None = None,
        action: Literal["Consume", "Review"] = "Consume",
        most_bytes: int = MOST_BYTES,
        clock: Callable[[], float] = time,
    ) -> None:
        """Create a reader without reading any file.

        `policy` is the policy by which this workload consumes the dead-letter topic, or the one
        that declares this topic as its `deadLetter`. `consumers` are the SPIFFE IDs whose dead
        letters are accepted: by default this workload itself, and the producers of a policy that
        includes the dead-letter topic. With the `action` Review, `policy` is one whose dead letters
        this workload reviews, and by default those of all its consumers are accepted.
        """
        self._consumers = None if consumers is None else frozenset(consumers)
        self._opener = _Opener(identity, policy, group=group, most_bytes=most_bytes, clock=clock)
        self._opener.action = action

    def read(self, message: Message) -> DeadLetter | Rejection:
        """Return the dead letter in a message, or the reason for which it is rejected.

        A dead letter does not expire, because a person may have to review it. Raises
        `IdentityError` if this workload has never had usable files.
        """
        case = self._opener.case(message)
        try:
            self._opener.verify(case)
            _check_place(case, self._opener.policy)
            self._check_consumer(case)
            _check_time(case)
            return _parse(case)
        except RejectedError as error:
            return replace(error.rejection, actor=case.actor)

    def _check_consumer(self, case: Case) -> None:
        granted = case.rights.granted
        consumers = self._consumers
        if consumers is None and granted.action == "Review":
            consumers = frozenset().union(*(each.spiffe_ids for each in granted.consumers))
        elif consumers is None:
            known = granted.producers if case.rights.includes(case.message.topic) else frozenset()
            consumers = known | {case.snapshot.spiffe_id}
        if case.svid.spiffe_id not in consumers:
            raise RejectedError(
                Reason.PRODUCER_NOT_GRANTED,
                f"dead letters of {case.svid.spiffe_id} are not accepted here",
            )


class _Opener(Opener):
    """Opener that verifies the seal of a dead letter."""

    def case(self, message: Message) -> Case:
        return Case(message, self._identity.current, self._clock())

    def verify(self, case: Case) -> None:
        self.check_grant(case)
        self.check_form(case)
        compare_seal(case, _signed(case.attributes))
        self.check_certificate(case)
        self.check_signature(case)
        self.check_environment(case)


def _signed(attributes: Mapping[str, str]) -> Sequence[str]:
    # Dead letters of earlier releases have no group, and are in their topics for long.
    return DEAD_LETTER if "trothgroup" in attributes else DEAD_LETTER_WITHOUT_GROUP


def _check_place(case: Case, policy: str) -> None:
    """Check that a dead letter is where its consumer put it."""
    attributes, rights, topic = case.attributes, case.rights, case.message.topic
    declared = rights.granted.dead_letter
    if attributes["type"] != TYPE:
        raise RejectedError(
            Reason.MALFORMED, f"the event is no dead letter: its type is not {TYPE}"
        )
    if attributes["trothtopic"] != topic:
        raise RejectedError(
            Reason.WRONG_TOPIC, "the dead letter was sealed for another topic than delivered it"
        )
    if attributes["trothbroker"] != rights.granted.broker:
        raise RejectedError(
            Reason.WRONG_POLICY, f"the attribute trothbroker is not {rights.granted.broker}"
        )
    if rights.includes(topic):
        return
    if declared is None or declared.topic != topic:
        raise RejectedError(
            Reason.WRONG_TOPIC,
            f"the TopicPolicy {policy} neither includes the topic nor declares it as deadLetter",
        )
    if attributes["trothpolicy"] != rights.granted.policy:
        raise RejectedError(
            Reason.WRONG_POLICY, f"the attribute trothpolicy is not {rights.granted.policy}"
        )


def _check_time(case: Case) -> None:
    if case.time - case.now > TOLERANCE:
        raise RejectedError(
            Reason.NOT_YET_VALID,
            f"the dead letter is from {int(case.time - case.now)} s in the future; correct the "
            "clock that is wrong",
        )
    stored = case.message.stored_at
    if stored is not None and abs(stored - case.time) > TOLERANCE:
        raise RejectedError(
            Reason.TIME_MISMATCH,
            f"the broker stored the dead letter {int(stored - case.time)} s after its time; at "
            f"most {int(TOLERANCE)} s are allowed",
        )


def _parse(case: Case) -> DeadLetter:
    attributes = case.attributes
    omitted = frozenset(attributes.get("trothomitted", "").split())
    try:
        attempts, size = attributes["trothattempts"], attributes.get("trothdatasize")
        stored = attributes.get("trothstored")
        return DeadLetter(
            id=attributes["id"],
            consumer=case.svid.spiffe_id,
            policy=attributes["trothpolicy"],
            rejection=Rejection(Reason(attributes["trothreason"]), attributes["trothdetail"]),
            origin=attributes["trothorigin"],
            attempts=count_of(attempts),
            time=datetime.fromtimestamp(case.time, UTC),
            message=restored(
                case.rights.granted.type,
                attributes["trothorigin"],
                read_headers(attributes.get("trothheaders")),
                None if DATA in omitted else case.data,
                None if stored is None else moment_of(stored),
            ),
            omitted=omitted,
            data_digest=attributes.get("trothdatadigest"),
            data_size=None if size is None else count_of(size),
            group=attributes.get("trothgroup"),
        )
    except (KeyError, ValueError):
        raise RejectedError(
            Reason.MALFORMED, "an attribute of the dead letter is missing or unreadable"
        ) from None


def _id(snapshot: Snapshot, policy: str, group: str | None, message: Message) -> str:
    """Return the same ID for each dead letter of a message that the broker may deliver again."""
    if message.offset is None:
        return str(uuid.uuid4())
    return letter_id(snapshot.spiffe_id, policy, group, message.origin, digest(message.data or b""))
