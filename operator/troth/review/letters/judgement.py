"""May a letter be redriven? The original is verified as its consumer would verify it now.

Pure, apart from the identity's files and the clock. The consumer verifies again when it gets the
message; the worker does it first so that a person learns why a redrive would fail, and so that no
message is delivered that its consumer must reject.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import time
from typing import Final

from troth.documents.event_bundles import TOLERANCE
from troth.documents.identity.document import Messages, ReviewedConsumer
from troth.edge.events.case import Case
from troth.edge.events.consumption.dead_letters import DeadLetter
from troth.edge.events.opening import CHECKS, MOST_BYTES, Opener
from troth.edge.events.redrive import Redrive
from troth.edge.events.redriven import earlier
from troth.edge.events.rejection import Reason, RejectedError, Rejection
from troth.edge.events.rights import rights_of
from troth.edge.identity.files import Identity
from troth.resources.reviews.dead_letter_review_status import LetterOutcome
from troth.review.letters.digest import digest_of
from troth.review.letters.letter import Letter

GONE: Final = "Gone"
"""Reason of a letter that the broker no longer has."""
CHANGED: Final = "MessageChanged"
"""Reason of a letter whose message is not the one of the index."""
INCOMPLETE: Final = "Incomplete"
"""Reason of a letter that lacks data or headers of its message."""
CONSUMER_NOT_GRANTED: Final = "ConsumerNotGranted"
"""Reason of a letter whose consumer has no grant any more."""
RETRY_TOPIC_MISSING: Final = "RetryTopicMissing"
"""Reason of a letter whose message would reach other consumers too."""
REDRIVEN_BY_ANOTHER: Final = "RedrivenByAnother"
"""Reason of a letter whose message a workload that is not this reviewer delivered again."""
LIMIT_REACHED: Final = "RedriveLimitReached"
"""Reason of a letter that was redriven as often as the policy allows."""
SETTLED_BEFORE: Final = "SettledBefore"
"""Reason of a letter that another review settled first."""

# The next redrive replaces an earlier one, which is for another workload than this one.
_OF_EVENT = tuple(name for name in CHECKS if name != "redrive")
# The checks without which no later one can run.
_NEEDED = frozenset({"grant", "form", "seal", "certificate", "signature"})


@dataclass(frozen=True, slots=True)
class Redrivable:
    """Topic on which to deliver a message again, and how often it was redriven before."""

    target: str
    redrives: int = 0


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why a letter cannot be redriven: its outcome, a CamelCase reason, and a sentence."""

    outcome: LetterOutcome
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Check:
    """Outcome of one check by its name; `obstacle` is None if the letter passed it."""

    name: str
    obstacle: Obstacle | None


class Judge:
    """Judges the letters of one policy. It may be shared by threads."""

    def __init__(
        self,
        identity: Identity,
        policy: str,
        *,
        most_bytes: int = MOST_BYTES,
        clock: Callable[[], float] = time,
    ) -> None:
        """Create it without reading any file.

        `policy` is `<namespace>/<name>`. `most_bytes` limits an event's data. `clock` returns
        seconds since the epoch.
        """
        self._identity = identity
        self._policy = policy
        self._opener = _OriginalOpener(identity, policy, most_bytes=most_bytes, clock=clock)

    def judge(self, letter: Letter, dead_letter: DeadLetter) -> Redrivable | Obstacle:
        """Return how to redrive a letter, or the first obstacle.

        Raises `RejectedError` if this workload may not review by the policy, and `IdentityError` if
        it has never had usable files.
        """
        case = self._opener.case(dead_letter)
        for check in self._checks(case, letter, dead_letter):
            if check.obstacle is not None:
                return check.obstacle
        entry = case.rights.granted
        target = _target(entry, _consumer_of(entry, letter), dead_letter)
        assert isinstance(target, str)
        return Redrivable(target, _redrives(case, letter))

    def explain(self, letter: Letter, dead_letter: DeadLetter) -> tuple[Check, ...]:
        """Return every check that does not depend on a failed one, in order.

        Raises as `judge` does.
        """
        return tuple(self._checks(self._opener.case(dead_letter), letter, dead_letter))

    def entry(self) -> Messages:
        """Return this workload's entry; raises `RejectedError` with `NotGranted` without one."""
        return rights_of(self._identity.current, self._policy, "Review", None).granted

    def _checks(
        self, case: "_OriginalCase", letter: Letter, dead_letter: DeadLetter
    ) -> Iterator[Check]:
        entry = case.rights.granted
        consumer = _consumer_of(entry, letter)
        yield Check("message", _fault_of_message(letter, dead_letter))
        whole = _fault_of_parts(dead_letter)
        yield Check("parts", whole)
        yield Check("consumer", consumer if isinstance(consumer, Obstacle) else None)
        yield Check("limit", _fault_of_count(entry, _redrives(case, letter)))
        if whole is None and not isinstance(consumer, Obstacle):
            yield Check("redrive", _fault_of_redrive(case))
            case.consumer = consumer
            for name, rejection in self._opener.verdicts(case):
                yield Check(name, None if rejection is None else _skipped(rejection))
        if not isinstance(consumer, Obstacle):
            target = _target(entry, consumer, dead_letter)
            yield Check("retry", target if isinstance(target, Obstacle) else None)


def _skip(reason: str, detail: str) -> Obstacle:
    return Obstacle(LetterOutcome.SKIPPED, reason, detail)


def _skipped(rejection: Rejection) -> Obstacle:
    return _skip(str(rejection.reason), rejection.detail)


def _fault_of_message(letter: Letter, dead_letter: DeadLetter) -> Obstacle | None:
    same = dead_letter.id == letter.id and digest_of(dead_letter.message) == letter.digest
    if same:
        return None
    return _skip(CHANGED, "the topic has another message than the index at the letter's position")


def _fault_of_parts(dead_letter: DeadLetter) -> Obstacle | None:
    if not dead_letter.omitted:
        return None
    parts = " and ".join(sorted(dead_letter.omitted))
    return _skip(
        INCOMPLETE, f"the dead letter lacks the {parts} of its message, which was too large for it"
    )


def _consumer_of(entry: Messages, letter: Letter) -> ReviewedConsumer | Obstacle:
    """Return the consumer that rejected a message.

    Dead letters of earlier versions do not say the group; then the workload must have one alone.
    """
    found = [
        each
        for each in entry.consumers
        if letter.consumer in each.spiffe_ids and letter.group in (None, each.group)
    ]
    if len(found) == 1:
        return found[0]
    group = f" with the group {letter.group}" if letter.group is not None else ""
    detail = f"{letter.consumer} has no grant to consume by the TopicPolicy {entry.policy}{group}"
    if found:
        detail = f"{letter.consumer} consumes with several groups, and the letter names none"
    return _skip(CONSUMER_NOT_GRANTED, detail)


def _fault_of_redrive(case: "_OriginalCase") -> Obstacle | None:
    """Return an obstacle if somebody else counts the redrives of a message."""
    if case.stranger is None:
        return None
    return _skip(
        REDRIVEN_BY_ANOTHER,
        f"{case.stranger} delivered the message again, and is not this reviewer, which cannot "
        "continue its count; discard the letter, or have its producer publish the event again",
    )


def _redrives(case: "_OriginalCase", letter: Letter) -> int:
    """Return how often a message was redriven; the index may have read less of its letter."""
    return max(letter.redrives, 0 if case.earlier is None else case.earlier.count)


def _fault_of_count(entry: Messages, redrives: int) -> Obstacle | None:
    assert entry.dead_letter is not None
    most = entry.dead_letter.redrive_limit
    if redrives < most:
        return None
    return Obstacle(
        LetterOutcome.QUARANTINED,
        LIMIT_REACHED,
        f"the message was redriven {redrives} times; at most {most} are allowed "
        "(deadLetter.redriveLimit)",
    )


def _target(
    entry: Messages, consumer: ReviewedConsumer | Obstacle, dead_letter: DeadLetter
) -> str | Obstacle:
    """Return the topic on which to deliver a message again."""
    if isinstance(consumer, Obstacle):
        return consumer
    if consumer.retry is not None:
        return consumer.retry.topic
    if consumer.retry_missing:
        return _skip(
            RETRY_TOPIC_MISSING,
            f"the consumer has no grant at its retry topic; see the status of the TopicPolicy "
            f"{entry.policy}",
        )
    if len(entry.consumers) > 1:
        return _skip(
            RETRY_TOPIC_MISSING,
            "other consumers of the policy would get the message too; give this consumer a retry "
            "topic",
        )
    # The seal binds the topic on which the message was first published.
    message = dead_letter.message
    return message.attributes.get("trothtopic", message.topic)


class _OriginalCase(Case):
    """Case of a message that a consumer rejected: with its earlier redrive, if it has one.

    `stranger` is the workload that sealed the redrive if it is not this reviewer. `rejected_at` is
    the time of the letter.
    """

    __slots__ = ("consumer", "earlier", "rejected_at", "stranger")

    consumer: ReviewedConsumer
    earlier: Redrive | None
    stranger: str | None
    rejected_at: float

    @property
    def topic(self) -> str:
        """The topic that delivered the message first, as the next redrive says it."""
        return self.message.topic if self.earlier is None else self.earlier.origin_topic

    @property
    def stored_at(self) -> float | None:
        """Time at which the broker stored the message there, None if it did not say."""
        return self.message.stored_at if self.earlier is None else self.earlier.stored_at


class _OriginalOpener(Opener):
    """Opener that verifies a message for another workload: its consumer."""

    action = "Review"

    def case(self, dead_letter: DeadLetter) -> _OriginalCase:
        """Return the case of a letter's message; raises `RejectedError` without a grant."""
        case = _OriginalCase(dead_letter.message, self._identity.current, self._clock())
        self.check_grant(case)
        redrive, signer = earlier(case) or (None, None)
        ours = signer in case.rights.reviewers
        case.rejected_at = dead_letter.time.timestamp()
        case.earlier, case.stranger = (redrive, None) if ours else (None, signer)
        return case

    def verdicts(self, case: _OriginalCase) -> Iterator[tuple[str, Rejection | None]]:
        """Yield the verdict of every check by its name, None for a passed one."""
        for name in _OF_EVENT:
            try:
                getattr(self, f"check_{name}")(case)
            except RejectedError as error:
                yield name, error.rejection
                if name in _NEEDED:
                    return
            else:
                yield name, None

    def check_topic(self, case: Case) -> None:
        """Check the first topic, which the consumer compares with the seal."""
        assert isinstance(case, _OriginalCase)
        sealed_for = case.attributes["trothtopic"]
        if case.topic != sealed_for:
            raise RejectedError(
                Reason.WRONG_TOPIC, "the event was sealed for another topic than delivered it"
            )
        if not case.rights.includes(sealed_for):
            raise RejectedError(
                Reason.WRONG_TOPIC, f"the TopicPolicy {self.policy} does not include the topic"
            )

    def check_time(self, case: Case) -> None:
        """Check the time of the event by that of the broker. Its age now does not matter.

        Without the broker's time, its age was to be in order when its consumer rejected it. It was
        checked before an earlier redrive.
        """
        assert isinstance(case, _OriginalCase)
        if case.time - case.now > TOLERANCE:
            raise RejectedError(
                Reason.NOT_YET_VALID,
                f"the event is from {int(case.time - case.now)} s in the future; correct the "
                "clock that is wrong",
            )
        stored, most = case.stored_at, case.rights.granted.context.max_age
        age = case.rejected_at - case.time
        if stored is None and case.earlier is None and age > most:
            raise RejectedError(
                Reason.EXPIRED,
                f"the event was {int(age)} s old when its consumer rejected it; at most {most} s "
                "are allowed (context.maxAge), because the broker did not say when it stored it",
            )
        if stored is not None and abs(stored - case.time) > TOLERANCE:
            raise RejectedError(
                Reason.TIME_MISMATCH,
                f"the broker stored the event {int(stored - case.time)} s after its time; at most "
                f"{int(TOLERANCE)} s are allowed",
            )

    def check_tenant(self, case: Case) -> None:
        """Check that the message's consumer accepts events of the tenant."""
        assert isinstance(case, _OriginalCase)
        tenants = case.consumer.tenants
        if tenants is not None and case.attributes.get("trothtenant") not in tenants:
            raise RejectedError(
                Reason.TENANT_NOT_ACCEPTED,
                "this consumer does not accept events of the event's tenant",
            )
