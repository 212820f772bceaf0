"""Answers one request: who calls, what they may do, and a document or a rejection."""

import asyncio
import json
import re
import time
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from troth.cluster.concurrency import ShareExceededError, Shares
from troth.edge.identity.snapshot import IdentityError
from troth.edge.inbound.connections.limits import peer_address
from troth.resources.references import Ref
from troth.resources.schema.scalars import LABEL
from troth.review.api.access import SUBRESOURCE, Access, User, Verb, bearer_token
from troth.review.api.documents import Document
from troth.review.api.problems import ProblemError, Reason, bad_request, unavailable
from troth.review.api.source import Source
from troth.review.brokers import BrokerUnavailableError

ANSWER_WITHIN = 30.0
"""Maximum seconds for an answer."""
AT_ONCE = 32
"""Maximum number of requests that are answered at once; further callers must retry.

Each user has a share of them.
"""
RETRY_AFTER = "1"
"""Seconds after which a caller may retry."""

_NAMESPACE = re.compile(LABEL, re.ASCII)
_NAME = re.compile(rf"{LABEL}(\.{LABEL})*", re.ASCII)
_LONGEST_NAMESPACE, _LONGEST_NAME = 63, 253

log = structlog.get_logger()


@dataclass(slots=True)
class Call:
    """One request and its outcome, filled in while it is answered."""

    verb: str
    policy: str = ""
    user: str = ""
    letter: str = ""
    status: int = 0
    reason: str = ""


class Recorder(Protocol):
    """Counts and logs requests."""

    def record(self, call: Call, seconds: float) -> None:
        """Count and log a request."""


Answer = Callable[[Request, Ref, User], Awaitable[Document]]


class Answering:
    """Authenticates, authorises and answers the requests of the list API."""

    def __init__(
        self,
        source: Source,
        access: Access,
        recorder: Recorder,
        *,
        within: float = ANSWER_WITHIN,
    ) -> None:
        self._source = source
        self._access = access
        self._recorder = recorder
        self._within = within
        self._open = 0
        self._shares = Shares(AT_ONCE)

    def handler(self, verb: Verb, answer: Answer) -> Callable[[Request], Awaitable[Response]]:
        """Return what answers requests that need a verb on the policy of their path."""

        async def handle(request: Request) -> Response:
            call = Call(verb.value)
            began = time.perf_counter()
            try:
                document = await self._answered(request, call, answer)
            except ProblemError as error:
                call.status, call.reason = int(error.reason.status), error.reason.value
                return rejection(error)
            else:
                call.status = 200
                return _response(document, 200)
            finally:
                self._recorder.record(call, time.perf_counter() - began)

        return handle

    async def _answered(self, request: Request, call: Call, answer: Answer) -> Document:
        if self._open >= AT_ONCE:
            raise unavailable("too many requests are being answered; try again")
        self._open += 1
        try:
            async with asyncio.timeout(self._within):
                return await self._allowed(request, call, answer)
        except ShareExceededError:
            raise unavailable("too many of your requests are being answered; try again") from None
        except TimeoutError:
            raise unavailable(
                f"no answer within {self._within:.0f} s; select fewer letters, or try again"
            ) from None
        except BrokerUnavailableError as error:
            raise unavailable(f"the broker is unavailable: {error}; try again") from None
        except IdentityError as error:
            raise unavailable(f"the worker has no usable identity: {error}") from None
        except ClientDisconnect:
            raise bad_request("the request was interrupted") from None
        except ProblemError:
            raise
        except Exception as error:  # noqa: BLE001 - its text may quote a message
            frame = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{Path(frame.filename).name}:{frame.lineno}"
            log.error("request failed", error=type(error).__name__, where=where)  # noqa: TRY400
            raise ProblemError(
                Reason.INTERNAL_ERROR, "the request failed; the log of the worker says why"
            ) from None
        finally:
            self._open -= 1

    async def _allowed(self, request: Request, call: Call, answer: Answer) -> Document:
        token = bearer_token(_values(request, b"authorization"))
        peer = peer_address(request.client.host) if request.client else None
        user = await self._access.user(token, peer)
        call.user = user.name
        policy = _policy(request)
        call.policy = str(policy)
        call.letter = request.path_params.get("id", "")[:64]
        with self._shares.part(user.name):
            return await self._answer(request, call, answer, policy, user)

    async def _answer(
        self, request: Request, call: Call, answer: Answer, policy: Ref, user: User
    ) -> Document:
        await self._access.check(user, policy, Verb(call.verb))
        if not self._source.serves(policy):
            raise ProblemError(
                Reason.NOT_FOUND,
                f"this worker does not review the dead letters of the TopicPolicy {policy}; "
                "compare deadLetter.reviewer of the policy with reviews of its identity",
            )
        if not self._source.indexed(policy):
            raise unavailable(f"the index of the TopicPolicy {policy} is being read; try again")
        return await answer(request, policy, user)


def _policy(request: Request) -> Ref:
    """Return the policy of a path; raises `ProblemError`."""
    namespace, name = request.path_params["namespace"], request.path_params["name"]
    if (
        len(namespace) > _LONGEST_NAMESPACE
        or len(name) > _LONGEST_NAME
        or not _NAMESPACE.fullmatch(namespace)
        or not _NAME.fullmatch(name)
    ):
        raise not_found()
    return Ref(namespace, name)


def not_found() -> ProblemError:
    """Return the rejection of a path that does not exist."""
    path = f"/v1/namespaces/NAMESPACE/policies/NAME/{SUBRESOURCE}"
    return ProblemError(Reason.NOT_FOUND, f"no such path; the API has {path}")


def _values(request: Request, name: bytes) -> list[bytes]:
    return [value for key, value in request.scope["headers"] if key == name]


def rejection(error: ProblemError) -> Response:
    """Return the answer to a rejected request."""
    response = _response(
        {"reason": error.reason.value, "message": error.message}, error.reason.status
    )
    if error.reason is Reason.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = "Bearer"
    if error.reason is Reason.UNAVAILABLE:
        response.headers["Retry-After"] = RETRY_AFTER
    return response


def _response(document: Document, status: int) -> Response:
    # ASCII alone: a letter may have characters that control a terminal
    return Response(
        json.dumps(document).encode(),
        status,
        {"Cache-Control": "no-store"},
        media_type="application/json",
    )
