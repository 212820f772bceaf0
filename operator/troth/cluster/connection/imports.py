"""Imports of a library without a part that it can do without.

The module needs the standard library alone.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType


@contextmanager
def without(name: str, *, instead: ModuleType | None = None) -> Iterator[None]:
    """Let what the body imports not find a module, or find another one, unless it is imported.

    structlog imports rich to print tracebacks. Neither the log of a long-running program nor a
    command such as `troth plan` prints one with it.
    """
    if name in sys.modules:
        yield
        return
    sys.modules[name] = instead  # type: ignore[assignment]  # an import of None raises
    try:
        yield
    finally:
        del sys.modules[name]
