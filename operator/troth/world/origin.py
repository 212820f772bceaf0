"""Origin of an unexpected error, as a text without secrets."""

from collections.abc import Iterator
from pathlib import PurePath
from traceback import walk_tb
from typing import Any

FRAMES = 4
"""Number of traceback frames that are logged, innermost last."""


def origin(error: BaseException) -> str:
    """Return an error's name and where it was raised, without its text: that may quote a Secret.

    Of a group, it returns this for each of its errors.
    """
    if isinstance(error, BaseExceptionGroup):
        return ", ".join(origin(each) for each in error.exceptions)
    place, traceback = "", error.__traceback__
    while traceback is not None:
        file = PurePath(traceback.tb_frame.f_code.co_filename).name
        place, traceback = f" in {file}:{traceback.tb_lineno}", traceback.tb_next
    return f"{type(error).__name__}{place}"


def log_fields(error: BaseException) -> dict[str, Any]:
    """Return the log fields of an exception: its type, where it was raised, and its cause.

    The text is left out, because it may quote the content of a Secret.
    """
    frames = list(walk_tb(error.__traceback__))[-FRAMES:]
    group = isinstance(error, BaseExceptionGroup)
    fields: dict[str, Any] = {
        "error": origin(error) if group else type(error).__name__,
        "at": [
            f"{frame.f_code.co_filename}:{line} {frame.f_code.co_name}" for frame, line in frames
        ],
    }
    cause = _cause(error)
    return fields if cause is None else {**fields, "cause": origin(cause)}


def chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception, those that it contains as a group, and those that led to any of them."""
    seen: set[int] = set()
    left = [error]
    while left:
        each = left.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        left += each.exceptions if isinstance(each, BaseExceptionGroup) else ()
        left += filter(None, (each.__cause__, each.__context__))


def _cause(error: BaseException) -> BaseException | None:
    """Return the exception that led to another, as a traceback shows it."""
    return error.__cause__ or (None if error.__suppress_context__ else error.__context__)
