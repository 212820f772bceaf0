"""Scopes for Django, under WSGI and ASGI.

    @require_scopes("payments.charge")
    def charge(request): ...

Wrap `get_wsgi_application()` or `get_asgi_application()` with the middleware; do not add it to
MIDDLEWARE. Anything before it there would see unverified identity headers.
"""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from troth.edge.inbound import asgi, problems, wsgi
from troth.edge.inbound.caller import Caller
from troth.edge.inbound.refusal import Refusal
from troth.edge.inbound.scopes import View, behind, scopes_missing


def caller(request: HttpRequest) -> Caller | None:
    """Return the caller, None on an exempt path."""
    scope = getattr(request, "scope", None)
    return asgi.caller_of(scope) if scope is not None else wsgi.caller_of(request.META)


def require_scopes(*scopes: str) -> Callable[[View], View]:
    """Decorate a view, synchronous or not."""

    def refused(request: HttpRequest, *_: object, **__: object) -> HttpResponse | None:
        missing = scopes_missing(caller(request), scopes)
        return _response(missing) if missing else None

    return lambda view: behind(view, refused)


def _response(refusal: Refusal) -> HttpResponse:
    body = problems.body(refusal)
    headers = dict(problems.headers(refusal, len(body)))
    return HttpResponse(body, status=refusal.status.value, headers=headers)
