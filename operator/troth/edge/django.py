"""Scopes for Django, under WSGI and ASGI alike.

    @require_scopes("payments.charge")
    def charge(request): ...

The middleware goes around `get_wsgi_application()` or `get_asgi_application()`, not into
MIDDLEWARE: whatever comes before it there would see the headers that nobody vouches for.
"""

from collections.abc import Callable
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any, TypeVar

from django.http import HttpRequest, HttpResponse

from troth.edge import asgi, problems, wsgi
from troth.edge.caller import Caller
from troth.edge.refusal import Refusal
from troth.edge.scopes import scopes_missing

View = TypeVar("View", bound=Callable[..., Any])


def caller(request: HttpRequest) -> Caller | None:
    """Who calls, None for an exempt path."""
    scope = getattr(request, "scope", None)
    return asgi.caller_of(scope) if scope is not None else wsgi.caller_of(request.META)


def require_scopes(*scopes: str) -> Callable[[View], View]:
    """A decorator for a view, synchronous or not."""

    def decorate(view: View) -> View:
        if iscoroutinefunction(view):

            @wraps(view)
            async def guarded(request: HttpRequest, *args: object, **kwargs: object) -> object:
                refused = scopes_missing(caller(request), scopes)
                return _response(refused) if refused else await view(request, *args, **kwargs)

        else:

            @wraps(view)
            def guarded(request: HttpRequest, *args: object, **kwargs: object) -> object:
                refused = scopes_missing(caller(request), scopes)
                return _response(refused) if refused else view(request, *args, **kwargs)

        return guarded  # type: ignore[return-value]

    return decorate


def _response(refusal: Refusal) -> HttpResponse:
    body = problems.body(refusal)
    headers = dict(problems.headers(refusal, len(body)))
    return HttpResponse(body, status=refusal.status.value, headers=headers)
