"""Checks of a caller's scopes for a handler, for all frameworks.

Each module in `troth.edge.frameworks` for a framework has `require_scopes(...)`.
"""

import logging
from collections.abc import Callable
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any, TypeVar, cast

from troth.edge.inbound.caller import Caller
from troth.edge.inbound.refusal import Refusal, RefusedError, refusal

View = TypeVar("View", bound=Callable[..., Any])
"""A framework's view, synchronous or not."""

_LOG = logging.getLogger("troth.edge")


def scopes_missing(caller: Caller | None, needed: tuple[str, ...]) -> Refusal | None:
    """Return the rejection of a caller that lacks one of the scopes, None if it has all.

    Without a caller, as on an exempt path, all scopes are missing. Logs the rejection.
    """
    if caller is not None and caller.scopes.issuperset(needed):
        return None
    workload = caller.workload if caller else None
    request = caller.request_id if caller else None
    refused = refusal(RefusedError("scope-missing"), workload, request, tuple(sorted(needed)))
    _LOG.warning("rejected scope-missing: peer %s, request %s", workload or "-", request or "-")
    return refused


def behind(view: View, refused: Callable[..., object | None]) -> View:
    """Decorate a view so that it runs only if `refused`, given the same arguments, returns None."""
    if iscoroutinefunction(view):

        @wraps(view)
        async def awaited(*args: object, **kwargs: object) -> object:
            answer = refused(*args, **kwargs)
            return await view(*args, **kwargs) if answer is None else answer

        return cast("View", awaited)

    @wraps(view)
    def called(*args: object, **kwargs: object) -> object:
        answer = refused(*args, **kwargs)
        return view(*args, **kwargs) if answer is None else answer

    return cast("View", called)
