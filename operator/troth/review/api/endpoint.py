"""The list API: dead letters of policies, each with its verdict, and dry runs of reviews.

Reading a payload is an own right, and is recorded in the audit log before the answer is sent.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import islice
from typing import TypeVar
from urllib.parse import parse_qsl

import structlog
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from troth.edge.events.consumption.dead_letters import DATA
from troth.resources.references import Ref
from troth.resources.reviews.dead_letter_review import LETTER_ID
from troth.review.api import dry_run
from troth.review.api.access import Access, User, Verb
from troth.review.api.answering import ANSWER_WITHIN, Answering, Recorder, not_found, rejection
from troth.review.api.documents import (
    Document,
    dry_run_document,
    examined_document,
    letter_document,
    payload_document,
)
from troth.review.api.problems import ProblemError, Reason, bad_request, unavailable
from troth.review.api.queries import ListQuery, read_dry_run, read_list_query, write_continue
from troth.review.api.source import Examination, Source
from troth.review.letters.letter import Letter

LONGEST_BODY = 64 * 1024
"""Maximum size of a request's body in bytes. 256 IDs take a third of it."""
SCANS = 4
"""Maximum number of threads that read the index."""

_MOST_PARAMETERS = 16
_LETTERS = "/v1/namespaces/{namespace}/policies/{name}/deadletters"

log = structlog.get_logger()

T = TypeVar("T")
PayloadRead = Callable[[User, Letter], Awaitable[object]]
"""Records in the audit log that a user reads the payload of a letter; raises if it cannot."""


def utc_now() -> datetime:
    """Return the current time."""
    return datetime.now(UTC)


def app(
    source: Source,
    access: Access,
    payload_read: PayloadRead,
    recorder: Recorder,
    *,
    now: Callable[[], datetime] = utc_now,
    within: float = ANSWER_WITHIN,
    uptime: Callable[[], float] = time.monotonic,
) -> Starlette:
    """Return the list API as an ASGI application.

    `payload_read` must return before a payload is shown. `within` is the maximum time of an answer
    in seconds, and `uptime` the clock of dry runs.
    """
    api = ListAPI(source, payload_read, now, within, uptime)
    answering = Answering(source, access, recorder, within=within)
    application = Starlette(
        routes=[
            Route(_LETTERS, answering.handler(Verb.LIST, api.page)),
            Route(f"{_LETTERS}/counts", answering.handler(Verb.LIST, api.counts)),
            Route(
                f"{_LETTERS}/dry-run", answering.handler(Verb.GET, api.dry_run), methods=["POST"]
            ),
            Route(f"{_LETTERS}/{{id}}", answering.handler(Verb.GET, api.show)),
            Route(f"{_LETTERS}/{{id}}/payload", answering.handler(Verb.PAYLOAD, api.payload)),
        ],
        exception_handlers={404: _no_path, 405: _wrong_method},
    )
    application.router.redirect_slashes = False
    return application


async def _no_path(_: Request, __: Exception) -> Response:
    return rejection(not_found())


async def _wrong_method(_: Request, __: Exception) -> Response:
    return rejection(
        ProblemError(Reason.METHOD_NOT_ALLOWED, "only dry-run is a POST; send a GET request")
    )


class ListAPI:
    """Answers the requests of authorised users."""

    def __init__(
        self,
        source: Source,
        payload_read: PayloadRead,
        now: Callable[[], datetime],
        within: float,
        uptime: Callable[[], float],
    ) -> None:
        self._source = source
        self._payload_read = payload_read
        self._now = now
        self._within = within
        self._uptime = uptime
        # threads of its own, so that long scans hold back nothing else
        self._threads = ThreadPoolExecutor(SCANS, "dead-letter-list")
        self._dry_runs = asyncio.Lock()
        """Held while a batch of a dry run is examined, so that only one is in memory."""

    async def page(self, request: Request, policy: Ref, _: User) -> Document:
        """Return one page of letters, the oldest position first."""
        query = read_list_query(_parameters(request))
        letters = await self._scanned(
            lambda: list(islice(self._found(policy, query), query.limit + 1))
        )
        more = letters[query.limit :]
        shown = letters[: query.limit]
        document: Document = {"letters": [letter_document(each) for each in shown]}
        return document | ({"continue": write_continue(shown[-1].position)} if more else {})

    async def counts(self, request: Request, policy: Ref, _: User) -> Document:
        """Return the numbers of letters that await a decision."""
        _no_parameters(request)
        counts = await self._scanned(lambda: self._source.index.counts(policy))
        return counts.manifest()

    async def show(self, request: Request, policy: Ref, _: User) -> Document:
        """Return a letter with its verdict check by check, and what a redrive would do now."""
        _no_parameters(request)
        letter = await self._letter(request, policy)
        (examination,) = await self._source.examine([letter])
        return examined_document(letter, examination)

    async def payload(self, request: Request, policy: Ref, user: User) -> Document:
        """Return the data of a letter's message, once the audit log has an entry about it."""
        _no_parameters(request)
        letter = await self._letter(request, policy)
        (examination,) = await self._source.examine([letter])
        found = examination.dead_letter
        if found is None or found.id != letter.id:
            raise ProblemError(Reason.GONE, f"the broker no longer has the letter {letter.id}")
        if DATA in found.omitted:
            raise ProblemError(
                Reason.GONE,
                f"the letter {letter.id} has no data: the broker did not accept it in full",
            )
        try:
            await self._payload_read(user, letter)
        except Exception as error:  # noqa: BLE001 - without an entry, nothing is shown
            log.error(  # noqa: TRY400 - a trace may quote the entry
                "audit log unavailable", error=type(error).__name__, letter=letter.id
            )
            raise unavailable(
                "the audit log cannot be written, so no payload is shown; try again"
            ) from None
        return payload_document(letter, found)

    async def dry_run(self, request: Request, policy: Ref, _: User) -> Document:
        """Return what a review would do now."""
        _no_parameters(request)
        began = self._uptime()
        asked = read_dry_run(await _body(request))
        # whole seconds, as a review has them, so that what is shown is what can be requested
        now = self._now().replace(microsecond=0)
        created = min(asked.until or now, now)
        until = min(asked.select.until or created, created)
        quarantined = asked.select.ids is not None
        selected = await self._scanned(
            lambda: dry_run.select(
                self._in_time(
                    self._source.index.select(policy, asked.select, until, quarantined=quarantined)
                )
            )
        )
        # half of the time that is left, so that an incomplete answer is an answer
        seconds = (self._within - (self._uptime() - began)) / 2
        examined, outcomes = await dry_run.outcomes(
            asked.action, selected.first, self._examined, seconds
        )
        return dry_run_document(
            dry_run.DryRunResult(
                selected.count,
                selected.digest,
                until,
                examined,
                outcomes,
                selected.first[: dry_run.SAMPLE],
            )
        )

    def _found(self, policy: Ref, query: ListQuery) -> Iterator[Letter]:
        now = self._now()
        select = query.select.model_copy(update={"limit": query.limit + 1})
        letters = self._source.index.select(
            policy,
            select,
            min(select.until or now, now),
            after=query.after,
            states=(query.state,),
        )
        return self._in_time(letters)

    async def _letter(self, request: Request, policy: Ref) -> Letter:
        name = request.path_params["id"]
        if not LETTER_ID.fullmatch(name):
            raise not_found()
        letter = await self._scanned(lambda: self._source.index.get(policy, name))
        if letter is None:
            raise ProblemError(
                Reason.NOT_FOUND, f"the index has no letter {name} of the TopicPolicy {policy}"
            )
        return letter

    async def _examined(self, letters: Sequence[Letter]) -> Sequence[Examination]:
        async with self._dry_runs:
            return await self._source.examine(letters)

    async def _scanned(self, read: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, read)

    def _in_time(self, letters: Iterator[Letter]) -> Iterator[Letter]:
        """Yield letters, and raise `TimeoutError` when nobody waits for them any more."""
        end = time.monotonic() + self._within
        for number, letter in enumerate(letters):
            if number % 1000 == 0 and time.monotonic() > end:
                raise TimeoutError
            yield letter


def _parameters(request: Request) -> list[tuple[str, str]]:
    query = request.scope["query_string"]
    if not query:
        return []
    try:
        return parse_qsl(
            query.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=_MOST_PARAMETERS,
        )
    except ValueError:
        raise bad_request("the query cannot be read; write name=value, joined by &") from None


def _no_parameters(request: Request) -> None:
    if request.scope["query_string"]:
        raise bad_request("this path has no parameters")


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > LONGEST_BODY:
            raise ProblemError(Reason.TOO_LARGE, f"the body is larger than {LONGEST_BODY} bytes")
    return bytes(body)
