"""Scopes for Flask.

@app.post("/charge")
@require_scopes("payments.charge")
def charge(): ...
"""

from collections.abc import Callable
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any, TypeVar

from flask import Response, current_app, request

from troth.edge import problems
from troth.edge.caller import Caller
from troth.edge.scopes import scopes_missing
from troth.edge.wsgi import caller_of

View = TypeVar("View", bound=Callable[..., Any])


def caller() -> Caller | None:
    """Who calls, None for an exempt path."""
    return caller_of(request.environ)


def require_scopes(*scopes: str) -> Callable[[View], View]:
    """A decorator for a view."""

    def decorate(view: View) -> View:
        @wraps(view)
        def guarded(*args: object, **kwargs: object) -> object:
            refused = scopes_missing(caller(), scopes)
            if refused is None:
                served = current_app.ensure_sync(view) if iscoroutinefunction(view) else view
                return served(*args, **kwargs)
            body = problems.body(refused)
            return Response(body, refused.status.value, problems.headers(refused, len(body)))

        return guarded  # type: ignore[return-value]

    return decorate
