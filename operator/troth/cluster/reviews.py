"""Reviews: requests that the API server answers at once and does not store.

Callers of a service must not cause load on the API server, so the number of concurrent reviews is
limited, and positive answers are cached briefly. Each peer has a share of them, so that no peer can
use them up.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable, Iterator
from typing import Any, Generic, Protocol, TypeVar

import structlog

from troth.cluster.concurrency import ShareExceededError, Shares
from troth.cluster.denials import logged
from troth.cluster.errors import ApiError

TIMEOUT = 3.0
"""Maximum seconds for which a caller waits for the API server."""
REMEMBERED_FOR = 5.0
"""Seconds for which a positive answer is cached. The API server itself caches for ten more seconds.
Both together limit how long a token of a deleted user still works.
"""
REMEMBERED = 4096
AT_ONCE = 32
"""Maximum number of concurrent reviews; further ones wait in the order of their arrival."""

log = structlog.get_logger()

Manifest = dict[str, Any]
K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class ReviewServer(Protocol):
    """API server method that a review needs."""

    def create(self, manifest: Manifest) -> Awaitable[Manifest]:
        """Create an object, and return the API server's answer."""


class UnreviewedError(Exception):
    """The API server did not decide; the caller may try again."""


class TooManyReviewsError(UnreviewedError):
    """The peer has used up its share of the reviews."""


class Reviews:
    """Sends the reviews of one service, a limited number at once and each for a limited time.

    A peer that has its share must retry. The reviews of others wait for those before them, which
    are few for each peer.
    """

    def __init__(
        self,
        server: ReviewServer,
        failure: str,
        *,
        timeout: float = TIMEOUT,
        at_once: int = AT_ONCE,
    ) -> None:
        """`failure` is logged for a review without an answer, such as `token review failed`."""
        self._server = server
        self._failure = failure
        self._timeout = timeout
        self._slots = asyncio.Semaphore(at_once)
        self._shares = Shares(at_once)

    async def review(self, manifest: Manifest, peer: Hashable) -> Manifest:
        """Return the answer to a review for a peer; raises `UnreviewedError` without one.

        `peer` identifies the client that caused the review, for example by its address. Reviews
        that wait count towards its share.
        """
        try:
            with self._shares.part(peer):
                async with asyncio.timeout(self._timeout), self._slots:
                    return await self._server.create(manifest)
        except ShareExceededError:
            raise TooManyReviewsError from None
        except TimeoutError:
            log.warning(self._failure, reason="Timeout", seconds=self._timeout)
        except ApiError as error:
            log.warning(self._failure, **logged(error))
        raise UnreviewedError


class BriefCache(Generic[K, V]):
    """Positive answers, each until its end. The oldest are dropped if there are too many."""

    def __init__(self, uptime: Callable[[], float], *, most: int = REMEMBERED) -> None:
        """`uptime` returns seconds since any moment."""
        self._uptime = uptime
        self._most = most
        self._known: OrderedDict[K, tuple[V, float]] = OrderedDict()

    def get(self, key: K) -> V | None:
        """Return a value that has not ended."""
        known = self._known.get(key)
        return known[0] if known is not None and known[1] > self._uptime() else None

    def put(self, key: K, value: V, end: float) -> None:
        """Keep a value until `end`, in seconds of `uptime`."""
        self._known[key] = value, end
        self._known.move_to_end(key)
        if len(self._known) > self._most:
            self._known.popitem(last=False)

    def __iter__(self) -> Iterator[K]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)
