"""The access tokens of a client: which to use, when to request another, and when to back off.

Pure except for its lock: it decides, and its caller sends requests. A token is renewed after two
thirds of its lifetime, by one request at a time, while the old one stays in use. Requests to an
unavailable issuer have increasing pauses. Held tokens stay in use until they expire; after that,
`TokenUnavailableError` is raised.

Lifetimes are measured on a monotonic clock from the time of the request. Changes of the wall clock,
here or at the issuer, have no effect.
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
"""Part of its lifetime after which a token is renewed."""

_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 30.0
_REFRESH_PAUSE = 10.0
"""Seconds within which a callee's rejections cause one fresh token, not one for each request."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Purpose of a token, and the certificate that it is bound to, which limits where it is sent.

    `scopes` are those in the files of this workload: when they change, another token is needed.
    `thumbprint` is the certificate's `x5t#S256`, None for a token by ServiceAccount.
    """

    issuer: str
    audience: str
    scopes: tuple[str, ...]
    thumbprint: str | None


@dataclass(frozen=True, slots=True)
class Flight:
    """One pending request to the issuer, sent by the receiver of its `Fetch` or `Use`."""

    wanted: Wanted
    started: float
    landing: "Future[str]" = field(default_factory=Future, repr=False)


@dataclass(frozen=True, slots=True)
class Use:
    """Send this token. With `renewal`, fetch the next one in the background."""

    token: str = field(repr=False)
    renewal: Flight | None = None


@dataclass(frozen=True, slots=True)
class Fetch:
    """There is no token yet: fetch one first."""

    flight: Flight


@dataclass(frozen=True, slots=True)
class Wait:
    """Another request is fetching the token: wait for the flight."""

    flight: Flight


@dataclass(slots=True)
class _Trouble:
    """Start of a series of failures, and the time of the next attempt."""

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
    """The issuer's rejection of this token. Unavailability is recorded once for all tokens of an
    issuer.
    """


class TokenCache:
    """The tokens of one client, by purpose; safe between threads and event loops."""

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
        """The wall-clock time, aware UTC."""
        return self._now()

    def ask(self, wanted: Wanted) -> Use | Fetch | Wait:
        """Return how a request gets its token; raises `TokenUnavailableError` if it gets none."""
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
        """Return the held token, None if there is none. This starts no request."""
        with self._lock:
            entry = self._entries.get(wanted)
            if entry is None or entry.held is None or self._clock() >= entry.expires:
                return None
            return entry.held.token

    def landed(self, flight: Flight, issued: Issued) -> None:
        """Record that a flight brought a token."""
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
        """Record that a flight failed. All its waiters get the reason."""
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
        """Record that a callee rejected a token; return whether to try another one.

        If so, the token is dropped. False if the last rejection was within `_REFRESH_PAUSE`,
        because a fresh token does not help then.
        """
        with self._lock:
            clock = self._clock()
            entry = self._entries.setdefault(wanted, _Entry())
            if entry.held is not None and entry.held.token != token:
                return True  # another token was fetched meanwhile
            if clock < entry.refreshed + _REFRESH_PAUSE:
                return False
            entry.refreshed = clock
            entry.held = None
            return True

    # Requests without a held token, such as those for transactions

    def admit(self, issuer: str, audience: str) -> float:
        """Return the time of the request; raises `TokenUnavailableError` during a pause."""
        with self._lock:
            clock = self._clock()
            obstacle = self._obstacle(issuer, None, clock)
            if obstacle is not None:
                raise _unavailable(issuer, audience, obstacle, clock)
            self._probe(issuer)
            return clock

    def answered(self, issuer: str) -> None:
        """Record that the issuer answered a request that `admit` allowed."""
        with self._lock:
            self._away.pop(issuer, None)

    def unanswered(
        self, issuer: str, audience: str, failure: ExchangeFailedError, started: float
    ) -> TokenUnavailableError:
        """Record that the request failed; return the error to raise."""
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
        # A cancelled waiter must not cancel the flight of the others.
        entry.flight.landing.set_running_or_notify_cancel()
        return entry.flight

    def _obstacle(self, issuer: str, entry: _Entry | None, clock: float) -> _Trouble | None:
        """Return why the issuer gets no request now. After a pause, one request tests it."""
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
        """Return the trouble after one more failure; simultaneous failures count once."""
        clock = self._clock()
        if trouble is not None and started <= trouble.last:
            trouble.until = max(trouble.until, clock + failure.retry_after)
            return trouble
        pause = min(trouble.pause * 2, _LONGEST_PAUSE) if trouble else _FIRST_PAUSE
        wait = max(pause * (1 + self._spread()) / 2, failure.retry_after)
        since = trouble.since if trouble else self._now()
        return _Trouble(since, failure, clock, clock + wait, pause)

    def _forget_expired(self) -> None:
        """Drop expired tokens that are not wanted, such as those of an old certificate."""
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
