"""Scopes for Flask.

@app.post("/charge")
@require_scopes("payments.charge")
def charge(): ...
"""

from collections.abc import Callable

from flask import Response, request

from troth.edge.inbound import problems
from troth.edge.inbound.caller import Caller
from troth.edge.inbound.scopes import View, behind, scopes_missing
from troth.edge.inbound.wsgi import caller_of


def caller() -> Caller | None:
    """Return the caller, None on an exempt path."""
    return caller_of(request.environ)


def require_scopes(*scopes: str) -> Callable[[View], View]:
    """Decorate a view."""

    def refused(*_: object, **__: object) -> Response | None:
        missing = scopes_missing(caller(), scopes)
        if missing is None:
            return None
        body = problems.body(missing)
        return Response(body, missing.status.value, problems.headers(missing, len(body)))

    return lambda view: behind(view, refused)
