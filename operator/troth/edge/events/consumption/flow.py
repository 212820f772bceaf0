"""What a consumer does with a message: the decisions, without I/O.

`Consumption.flow` is a generator for one message. It yields steps, and `driving` carries them out,
in threads or in asyncio; an adapter for a broker supplies the four operations that need the broker
or the application. When the flow returns, the adapter commits the message. If the flow raises, or
is closed, the adapter commits nothing, and the broker delivers the message again.

The rules:

| the message | what the flow does |
| --- | --- |
| is accepted | claims the event, calls the handler, marks the event as consumed, returns |
| was handled before, and its commit was lost | returns |
| was handled before, after the same redrive | returns |
| was delivered again to another consumer | returns |
| is a copy of a consumed event | dead letter `Duplicate` |
| is being handled elsewhere | waits, and checks again |
| is rejected because of this workload (no grant, no schema, no files) | waits, and checks again |
| is of a producer, reviewer or schema that the files may not have yet | waits, at most `patience` |
| is rejected for another reason | dead letter |
| fails in the handler `attempts` times | dead letter `HandlerFailed` |

A flow returns after a dead letter only if the broker has acknowledged it. If the broker rejects it,
the flow waits and tries again, so no message is lost or skipped. If the policy declares no
dead-letter topic, the flow raises `StoppedError`, unless rejected messages may be dropped.

A flow can be closed while it waits. It holds no claim then, except if it waits for the mark of a
handled event: then the claim's lease ends by itself, and the event is handled again.
"""

import logging
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from time import monotonic, time
from typing import Any, Final, Literal

from troth.edge.events.attributes import REDRIVE, parse_time
from troth.edge.events.consumption.dead_letters import OMISSIONS, DeadLetters
from troth.edge.events.consumption.duplicates import Seen
from troth.edge.events.consumption.hooks import NO_HOOKS, Hooks
from troth.edge.events.consumption.steps import (
    Claim,
    Consumed,
    Flow,
    Handle,
    Mark,
    Outcome,
    Pauses,
    Publish,
    Release,
    Step,
    StoppedError,
    TooLargeError,
    UnavailableError,
    Wait,
)
from troth.edge.events.event import Event
from troth.edge.events.message import Message
from troth.edge.events.opening import Opener
from troth.edge.events.rejection import Reason, RejectedError, Rejection
from troth.edge.identity.cache import Kept
from troth.edge.identity.snapshot import IdentityError
from troth.replay.store import StoreUnavailableError

__all__ = [
    "Claim",
    "Consumed",
    "Consumption",
    "Flow",
    "Handle",
    "Hooks",
    "Mark",
    "Outcome",
    "Publish",
    "Release",
    "Seen",
    "Step",
    "StoppedError",
    "TooLargeError",
    "UnavailableError",
    "Wait",
]

PATIENCE: Final = 120.0
"""Default of the time in seconds for which this workload's files may be behind the producer's."""
ATTEMPTS: Final = 3
"""Default of the number of calls of a handler that fails."""
FIRST_PAUSE: Final = 1.0
"""Default of the first pause in seconds; each further one doubles it."""
RETRY_EARLY: Final = 5.0
"""Maximum pause in seconds before a message is checked again that newer files may accept."""
LOG_EVERY: Final = 60.0
"""Minimum time in seconds between two log lines about one cause of waiting."""

_OWN = frozenset({Reason.NOT_GRANTED, Reason.SCHEMA_UNAVAILABLE})
"""Reasons that are about this workload. No message is rejected for them."""
_EARLY = frozenset({Reason.PRODUCER_NOT_GRANTED, Reason.SCHEMA_UNKNOWN})
"""Reasons that end once this workload's files are as new as the producer's."""

_COOL_DOWN = 9
"""A producer can hold up a partition for one of this many times the patience, plus one."""

_LOG = logging.getLogger("troth.edge.events")


def _event(event: Event) -> Any:  # noqa: ANN401 - the handler's argument
    return event


class Consumption:
    """The flows of one consumer's messages. It may be shared by threads."""

    def __init__(
        self,
        opener: Opener,
        dead_letters: DeadLetters,
        *,
        deduplicates: bool,
        prepare: Callable[[Event], Any] = _event,
        attempts: int = ATTEMPTS,
        patience: float = PATIENCE,
        first_pause: float = FIRST_PAUSE,
        on_rejected: Literal["stop", "drop"] = "stop",
        hooks: Hooks | None = None,
        clock: Callable[[], float] = time,
    ) -> None:
        """Create the decisions of a consumer.

        `deduplicates` says whether the driver has a store for `Claim`, `Mark` and `Release`.
        `prepare` returns the handler's argument, and raises `RejectedError` if the event does not
        satisfy the handler's model. `on_rejected` counts if the policy declares no dead-letter
        topic: `drop` logs and commits rejected messages, `stop` raises `StoppedError`. A message
        whose handler fails is never dropped. `clock` returns seconds since the epoch.
        """
        if attempts < 1:
            raise ValueError("attempts is the number of calls of a handler; use 1 or more")
        self._opener = opener
        self._dead_letters = dead_letters
        self._deduplicates = deduplicates
        self._prepare = prepare
        self._attempts = attempts
        self._patience = patience
        self._first_pause = first_pause
        self._drops = on_rejected == "drop"
        self._hooks: Hooks = hooks or NO_HOOKS
        self._clock = clock
        self._logged: dict[str, float] = {}
        self._impatient: Kept[tuple[str | None, Reason], float] = Kept(1024)

    @property
    def policy(self) -> str:
        """The policy by which the messages are consumed."""
        return self._opener.policy

    def flow(self, message: Message) -> Flow:
        """Return the steps for one message; see the module."""
        consumed = yield from self._consume(message)
        self._hooks.consumed(consumed)
        return consumed

    def _consume(self, message: Message) -> Flow:
        began, attempts, pauses = self._clock(), 0, Pauses(self._first_pause)
        while True:
            begun = yield from self._begin(message, began, pauses)
            if begun is None:
                return Consumed(Outcome.REDELIVERED, message.origin)
            if isinstance(begun, Rejection):
                if begun.reason is Reason.NOT_ADDRESSED:
                    return Consumed(Outcome.NOT_ADDRESSED, message.origin)
                return (yield from self._reject(message, begun, attempts))
            attempts += 1
            try:
                yield from _handle(begun.argument, begun.claim)
            except Exception as error:  # noqa: BLE001 - any failure of the application
                failed = self._failed(message, begun.event, attempts, error)
                if attempts < self._attempts:
                    yield self._wait(message, failed.reason, failed.detail, pauses)
                    continue
                return (yield from self._reject(message, failed, attempts, error))
            yield from self._mark(message, begun.claim)
            return Consumed(Outcome.HANDLED, message.origin, attempts=attempts)

    def _begin(
        self, message: Message, began: float, pauses: Pauses
    ) -> Generator[Step, Any, "_Begun | Rejection | None"]:
        """Return a claimed event, the reason why there is none, or None for a redelivery."""
        while True:
            try:
                opened = self._open(message)
            except IdentityError as error:
                yield self._wait(message, "IdentityUnusable", str(error), pauses)
                continue
            if isinstance(opened, Rejection):
                remaining = self._remaining(message, opened, began)
                if remaining <= 0:
                    return opened
                yield self._wait(message, opened.reason, opened.detail, pauses, remaining)
                continue
            event, argument = opened
            claim = yield from self._claim(message, event, pauses)
            if claim is Seen.REDELIVERED:
                return None
            if claim is Seen.DUPLICATE:
                return Rejection(Reason.DUPLICATE, "the event was consumed before", event.actor)
            if claim is not Seen.IN_FLIGHT:
                return _Begun(event, argument, claim)

    def _claim(self, message: Message, event: Event, pauses: Pauses) -> Generator[Step, Any, Any]:
        """Return a claim or what is known; after `IN_FLIGHT` it has waited."""
        if not self._deduplicates:
            return None
        try:
            claim = yield Claim(event, _position(message, event))
        except StoreUnavailableError as error:
            yield self._wait(message, "StoreUnavailable", str(error), pauses)
            return Seen.IN_FLIGHT
        if claim is Seen.IN_FLIGHT:
            detail = "another consumer handles the event"
            yield self._wait(message, Seen.IN_FLIGHT, detail, pauses)
        return claim

    def _open(self, message: Message) -> tuple[Event, Any] | Rejection:
        """Return a message's event and the handler's argument, or why there are none."""
        opened = self._opener.open(message)
        if isinstance(opened, Rejection):
            return opened
        try:
            return opened, self._prepare(opened)
        except RejectedError as error:
            return Rejection(error.rejection.reason, error.rejection.detail, opened.actor)

    def _remaining(self, message: Message, rejection: Rejection, began: float) -> float:
        """Return the seconds for which a rejection may still end; 0 if it stays."""
        if rejection.reason in _OWN:
            return float("inf")
        if not _is_early(rejection):
            return 0.0
        now, by = self._clock(), (rejection.actor, rejection.reason)
        published = message.stored_at
        if published is None:
            # A producer chooses this time. If its patience has run out lately, it does not get it
            # again for events that claim to be new: it could hold up a partition for ever.
            ended = self._impatient.get(by)
            if ended is not None and now < ended + _COOL_DOWN * self._patience:
                return 0.0
            # The event of a redrive is old, and its message is not.
            at = None if REDRIVE in message.attributes else message.attributes.get("time")
            published = parse_time(at or "") or began
        remaining = min(published, began) + self._patience - now
        if remaining <= 0 and now > began:
            self._impatient.put(by, now)
        return max(remaining, 0.0)

    def _reject(
        self,
        message: Message,
        rejection: Rejection,
        attempts: int,
        cause: Exception | None = None,
    ) -> Flow:
        """Publish the dead letter of a message."""
        pauses = Pauses(self._first_pause)
        form = 0
        while True:
            try:
                sealed = self._dead_letters.seal(
                    message, rejection, attempts=attempts, omit=OMISSIONS[form]
                )
            except (IdentityError, RejectedError) as error:
                yield self._wait(message, "DeadLetterNotSealed", str(error), pauses)
                continue
            if sealed is None:
                return self._without_dead_letter(message, rejection, attempts, cause)
            try:
                yield Publish(sealed)
            except TooLargeError as error:
                if form + 1 < len(OMISSIONS):
                    form += 1
                    continue
                yield self._wait(message, "DeadLetterTooLarge", str(error), pauses)
            except UnavailableError as error:
                yield self._wait(message, "DeadLetterNotPublished", str(error), pauses)
            else:
                self._log_rejection(message, rejection, "sent to the dead-letter topic")
                return Consumed(Outcome.DEAD_LETTERED, message.origin, rejection, attempts)

    def _without_dead_letter(
        self, message: Message, rejection: Rejection, attempts: int, cause: Exception | None
    ) -> Consumed:
        if not self._drops or rejection.reason is Reason.HANDLER_FAILED:
            self._log_rejection(message, rejection, "not committed")
            raise StoppedError(message.origin, rejection) from cause
        self._log_rejection(message, rejection, "dropped")
        return Consumed(Outcome.DROPPED, message.origin, rejection, attempts)

    def _mark(self, message: Message, claim: Any) -> Generator[Step, Any, None]:  # noqa: ANN401
        """Mark an event as consumed, however long this takes: its handler is not called again."""
        pauses = Pauses(self._first_pause)
        while claim is not None:
            try:
                yield Mark(claim)
            except StoreUnavailableError as error:
                yield self._wait(message, "StoreUnavailable", str(error), pauses)
            else:
                return

    def _failed(self, message: Message, event: Event, attempts: int, error: Exception) -> Rejection:
        # An exception's text may quote the event, so only its class is in the log and dead letter.
        name = type(error).__qualname__
        detail = f"the handler raised {name} in attempt {attempts} of {self._attempts}"
        _LOG.warning("Handler failed: message %s: %s", message.origin, detail)
        return Rejection(Reason.HANDLER_FAILED, detail, event.actor)

    def _wait(
        self,
        message: Message,
        reason: str,
        detail: str,
        pauses: Pauses,
        remaining: float = float("inf"),
    ) -> Wait:
        seconds = pauses.next()
        if remaining < float("inf"):
            seconds = min(seconds, RETRY_EARLY, remaining)
        now = monotonic()
        if now - self._logged.get(reason, float("-inf")) >= LOG_EVERY:
            self._logged[reason] = now
            _LOG.warning(
                "Message waits: policy %s, message %s: %s: %s",
                self.policy,
                message.origin,
                reason,
                detail,
            )
        self._hooks.waited(reason, seconds)
        return Wait(seconds, reason)

    def _log_rejection(self, message: Message, rejection: Rejection, fate: str) -> None:
        _LOG.warning(
            "Message rejected (%s): policy %s, message %s, actor %s: %s",
            fate,
            self.policy,
            message.origin,
            rejection.actor,
            rejection,
        )


@dataclass(frozen=True, slots=True)
class _Begun:
    """Claimed event, and the handler's argument."""

    event: Event
    argument: Any = field(repr=False)
    claim: Any = field(repr=False)


def _handle(argument: Any, claim: Any) -> Generator[Step, Any, None]:  # noqa: ANN401
    """Call the handler, and release the claim if it fails or is cancelled."""
    try:
        yield Handle(argument)
    except GeneratorExit:
        raise
    except BaseException:
        if claim is not None:
            yield Release(claim)
        raise


def _is_early(rejection: Rejection) -> bool:
    """Return whether a rejection may end once this workload's files are as new as the sender's."""
    if rejection.reason is Reason.REDRIVE_INVALID:
        return rejection.actor is not None
    return rejection.reason in _EARLY


def _position(message: Message, event: Event) -> str:
    """Return the place of a message in its log.

    A redrive is one delivery, wherever its message is, because its worker may publish it twice.
    """
    if event.redrive is not None:
        return event.redrive.id
    return message.origin if message.offset is not None else ""
