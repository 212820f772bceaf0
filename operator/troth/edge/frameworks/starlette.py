"""Scopes for Starlette and FastAPI.

    @require_scopes("payments.charge")                       # Starlette: an endpoint
    async def charge(request): ...

    @app.post("/charge", dependencies=[Depends(scoped("payments.charge"))])     # FastAPI
    def charge(caller: Annotated[Caller, Depends(scoped("payments.charge"))]): ...

For FastAPI, `app.add_exception_handler(ScopesMissingError, problem)` makes the response a problem
document. Without it FastAPI answers in its own format, also with 403.
"""

from collections.abc import Callable

from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from troth.edge.inbound import problems
from troth.edge.inbound.asgi import caller_of
from troth.edge.inbound.caller import Caller
from troth.edge.inbound.refusal import Refusal
from troth.edge.inbound.scopes import View, behind, scopes_missing


class ScopesMissingError(HTTPException):
    """A caller lacks a scope."""

    def __init__(self, refusal: Refusal) -> None:
        challenge = {"WWW-Authenticate": refusal.challenge} if refusal.challenge else {}
        super().__init__(refusal.status.value, refusal.sentence, challenge)
        self.refusal = refusal


def caller(connection: HTTPConnection) -> Caller | None:
    """Return the caller, None on an exempt path."""
    return caller_of(connection.scope)


def scoped(*scopes: str) -> Callable[[HTTPConnection], Caller]:
    """Return a FastAPI dependency: the caller with all of the scopes. It raises
    `ScopesMissingError`.
    """

    def dependency(connection: HTTPConnection) -> Caller:
        found = caller_of(connection.scope)
        refused = scopes_missing(found, scopes)
        if refused is not None or found is None:
            assert refused is not None
            raise ScopesMissingError(refused)
        return found

    return dependency


def require_scopes(*scopes: str) -> Callable[[View], View]:
    """Decorate an endpoint whose first argument is the request."""

    def refused(request: Request, *_: object, **__: object) -> Response | None:
        missing = scopes_missing(caller(request), scopes)
        return _response(missing) if missing else None

    return lambda endpoint: behind(endpoint, refused)


async def problem(_: Request, error: Exception) -> Response:
    """Answer `ScopesMissingError` with a problem document."""
    assert isinstance(error, ScopesMissingError)
    return _response(error.refusal)


def _response(refusal: Refusal) -> Response:
    body = problems.body(refusal)
    return Response(body, refusal.status.value, dict(problems.headers(refusal, len(body))))
