"""Fails the test that leaves a connection open.

Python warns about such a connection when it collects garbage, which is during a later test.
"""

from asyncio import selector_events
from collections.abc import Generator
from typing import Any
from weakref import WeakSet

import pytest

_Transport: Any = vars(selector_events)["_SelectorTransport"]  # asyncio has no hook
_begin = _Transport.__init__
_opened: WeakSet[Any] = WeakSet()


def _noted(self: Any, *given: Any, **options: Any) -> None:
    _begin(self, *given, **options)
    _opened.add(self)


_Transport.__init__ = _noted


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown() -> Generator[None]:
    """Fail a test whose event loop is closed, if connections of the loop are not."""
    try:
        return (yield)
    finally:
        left = [each for each in _opened if each._sock is not None and each._loop.is_closed()]
        _opened.difference_update(left)
        places = [_close(each) for each in left]
        assert not places, f"open connections: {places}"


def _close(transport: Any) -> str:
    """Close a connection, so that no later test hears of it; return its addresses."""
    place = f"{transport._sock.getsockname()} to {transport.get_extra_info('peername')}"
    transport._sock.close()
    transport._sock, transport._closing = None, True
    over_tls = getattr(transport._protocol, "_app_transport", None)
    if over_tls is not None:
        over_tls._closed = True
    return place
