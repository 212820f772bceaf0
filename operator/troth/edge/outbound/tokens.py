"""The access tokens a client holds: which to use, when to ask for another, when not to ask.

Pure but for its lock: it decides, and whoever carries requests does what it says. A token is
renewed at two thirds of its life while the old one goes on being used, and by one request at a time
however many want it. An issuer that is away is left alone for a while, longer each time; tokens
that are held go on being used until they expire, and then there is none and
`TokenUnavailableError` says so.

Lifetimes are counted on a monotonic clock from the moment of asking: what the wall clock does, here
or at the issuer, neither lengthens nor shortens them.
"""

import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime

from troth.edge.outbound.exchange import ExchangeFailedError, Issued
from troth.edge.outbound.failures import TokenRefusedError, TokenUnavailableError

RENEW_AT = 2 / 3
"""The part of its life after which a token is renewed."""

_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 30.0
_REFRESH_PAUSE = 10.0
"""Seconds within which a callee's refusals make one fresh token, not one for each request."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a token is for, and whose certificate it is bound to: where it may be sent at all.

    `scopes` are those the files of this workload list: when they change another token is needed.
    `thumbprint` is the certificate's `x5t#S256`, None for a token by ServiceAccount.
    """

    issuer: str
    audience: str
    scopes: tuple[str, ...]
    thumbprint: str | None


@dataclass(frozen=True, slots=True)
class Flight:
    """One request of the issuer that is under way; who gets it in a `Fetch` or `Use` flies it."""

    wanted: Wanted
    started: float
    landing: "Future[str]" = field(default_factory=Future, repr=False)


@dataclass(frozen=True, slots=True)
class Use:
    """Send this token. With `renewal`, fetch the next one beside it."""

    token: str = field(repr=False)
    renewal: Flight | None = None


@dataclass(frozen=True, slots=True)
class Fetch:
    """There is none: fetch one first."""

    flight: Flight


@dataclass(frozen=True, slots=True)
class Wait:
    """Somebody else fetches it: wait for the flight's landing."""

    flight: Flight


@dataclass(slots=True)
class _Trouble:
    """How long something has been failing, and when it is tried again."""

    since: datetime
    failure: ExchangeFailedError
    last: float
    until: float
    pause: float
    probing: bool = False


@dataclass(slots=True)
class _Entry:
    held: Issued | None = None
    expires: float = 0.0
    renew_at: float = 0.0
    flight: Flight | None = None
    refreshed: float = float("-inf")
    trouble: _Trouble | None = None
    """The issuer's refusal of this very token; its absence is trouble of all its tokens."""


class TokenCache:
    """The tokens of one client, by what they are for; safe between threads and event loops."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        spread: Callable[[], float] = random.random,
    ) -> None:
        self._clock = clock
        self._now = now
        self._spread = spread
        self._lock = threading.Lock()
        self._entries: dict[Wanted, _Entry] = {}
        self._away: dict[str, _Trouble] = {}

    def now(self) -> datetime:
        """The wall clock, aware UTC."""
        return self._now()

    def ask(self, wanted: Wanted) -> Use | Fetch | Wait:
        """Decide how a request gets its token; raises `TokenUnavailableError` if it gets none."""
        with self._lock:
            clock = self._clock()
            entry = self._entries.setdefault(wanted, _Entry())
            if entry.held is not None and clock < entry.expires:
                due = clock >= entry.renew_at and entry.flight is None
                renew = due and self._obstacle(wanted.issuer, entry, clock) is None
                return Use(entry.held.token, self._start(wanted, entry, clock) if renew else None)
            entry.held = None
            if entry.flight is not None:
                return Wait(entry.flight)
            obstacle = self._obstacle(wanted.issuer, entry, clock)
            if obstacle is not None:
                raise _unavailable(wanted.issuer, wanted.audience, obstacle, clock)
            return Fetch(self._start(wanted, entry, clock))

    def live(self, wanted: Wanted) -> str | None:
        """Return the token that is held, if one is, and decide nothing."""
        with self._lock:
            entry = self._entries.get(wanted)
            if entry is None or entry.held is None or self._clock() >= entry.expires:
                return None
            return entry.held.token

    def landed(self, flight: Flight, issued: Issued) -> None:
        """A flight brought a token."""
        with self._lock:
            entry = self._entries.setdefault(flight.wanted, _Entry())
            entry.held = issued
            entry.expires = flight.started + issued.lifetime
            entry.renew_at = flight.started + issued.lifetime * RENEW_AT
            entry.flight = entry.trouble = None
            self._away.pop(flight.wanted.issuer, None)
            self._forget_expired()
        flight.landing.set_result(issued.token)

    def failed(self, flight: Flight, failure: ExchangeFailedError) -> None:
        """A flight brought none. Whoever waits for it learns why."""
        wanted = flight.wanted
        with self._lock:
            clock = self._clock()
            entry = self._entries.setdefault(wanted, _Entry())
            entry.flight = None
            if failure.final:
                self._away.pop(wanted.issuer, None)
                trouble = entry.trouble = self._again(entry.trouble, failure, flight.started)
            else:
                trouble = self._again(self._away.get(wanted.issuer), failure, flight.started)
                self._away[wanted.issuer] = trouble
            error = _unavailable(wanted.issuer, wanted.audience, trouble, clock)
        flight.landing.set_exception(error)

    def refused(self, wanted: Wanted, token: str) -> bool:
        """The callee did not take a token. Return whether another may be tried: it is forgotten
        then. False when the last time was a moment ago, for then a fresh one does not help.
        """
        with self._lock:
            clock = self._clock()
            entry = self._entries.setdefault(wanted, _Entry())
            if entry.held is not None and entry.held.token != token:
                return True  # somebody has fetched another meanwhile
            if clock < entry.refreshed + _REFRESH_PAUSE:
                return False
            entry.refreshed = clock
            entry.held = None
            return True

    # Requests that hold no token afterwards, such as those for transactions

    def admit(self, issuer: str, audience: str) -> float:
        """Return the moment of asking; raises `TokenUnavailableError` while the issuer is left
        alone.
        """
        with self._lock:
            clock = self._clock()
            obstacle = self._obstacle(issuer, None, clock)
            if obstacle is not None:
                raise _unavailable(issuer, audience, obstacle, clock)
            self._probe(issuer)
            return clock

    def answered(self, issuer: str) -> None:
        """The issuer answered what `admit` let through."""
        with self._lock:
            self._away.pop(issuer, None)

    def unanswered(
        self, issuer: str, audience: str, failure: ExchangeFailedError, started: float
    ) -> TokenUnavailableError:
        """It failed; return the error to raise."""
        with self._lock:
            if failure.final:
                self._away.pop(issuer, None)
                trouble = _Trouble(self._now(), failure, started, started, 0.0)
            else:
                trouble = self._again(self._away.get(issuer), failure, started)
                self._away[issuer] = trouble
            return _unavailable(issuer, audience, trouble, self._clock())

    def _start(self, wanted: Wanted, entry: _Entry, clock: float) -> Flight:
        self._probe(wanted.issuer)
        entry.flight = Flight(wanted, clock)
        # A waiter that is cancelled must not cancel the flight of the others.
        entry.flight.landing.set_running_or_notify_cancel()
        return entry.flight

    def _obstacle(self, issuer: str, entry: _Entry | None, clock: float) -> _Trouble | None:
        """Return why the issuer is not asked now. When its pause is over, one request tries it."""
        away = self._away.get(issuer)
        if away is not None and (clock < away.until or away.probing):
            return away
        refused = entry.trouble if entry is not None else None
        return refused if refused is not None and clock < refused.until else None

    def _probe(self, issuer: str) -> None:
        if (away := self._away.get(issuer)) is not None:
            away.probing = True

    def _again(
        self, trouble: _Trouble | None, failure: ExchangeFailedError, started: float
    ) -> _Trouble:
        """Return the trouble after one more failure; those of one moment count once."""
        clock = self._clock()
        if trouble is not None and started <= trouble.last:
            trouble.until = max(trouble.until, clock + failure.retry_after)
            return trouble
        pause = min(trouble.pause * 2, _LONGEST_PAUSE) if trouble else _FIRST_PAUSE
        wait = max(pause * (1 + self._spread()) / 2, failure.retry_after)
        since = trouble.since if trouble else self._now()
        return _Trouble(since, failure, clock, clock + wait, pause)

    def _forget_expired(self) -> None:
        """Drop what has expired and is not wanted, such as what an old certificate had."""
        clock = self._clock()
        gone = [
            wanted
            for wanted, entry in self._entries.items()
            if entry.flight is None
            and clock >= entry.expires
            and (entry.trouble is None or clock >= entry.trouble.until + _LONGEST_PAUSE)
        ]
        for wanted in gone:
            del self._entries[wanted]


def _unavailable(
    issuer: str, audience: str, trouble: _Trouble, clock: float
) -> TokenUnavailableError:
    kind = TokenRefusedError if trouble.failure.final else TokenUnavailableError
    wait = max(trouble.until - clock, 0.0)
    return kind(issuer, audience, trouble.since, trouble.failure, wait)
