"""Progress of slow work: a spinner on a terminal, an occasional line elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

HEARTBEAT_SECONDS = 30.0


@contextmanager
def waiting(title: str) -> Iterator[Callable[[], None]]:
    """Show `title` and the elapsed time on standard error.

    Yields a function to call often while waiting. Without a terminal, it prints a line every half
    minute, so that a log shows progress.
    """
    console = Console(stderr=True, highlight=False)
    began = time.monotonic()
    try:
        if console.is_terminal:
            columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
            with Progress(*columns, console=console, transient=True) as progress:
                progress.add_task(title, total=None)
                yield lambda: None
        else:
            console.print(f"{title} ...", soft_wrap=True)
            yield _heartbeat(console, title, began)
    except BaseException:
        console.print(f"{title}: failed after {_since(began)}", soft_wrap=True)
        raise
    console.print(f"{title}: done in {_since(began)}", soft_wrap=True)


def _heartbeat(console: Console, title: str, began: float) -> Callable[[], None]:
    due = began + HEARTBEAT_SECONDS

    def beat() -> None:
        nonlocal due
        if time.monotonic() >= due:
            console.print(f"{title}: {_since(began)} so far", soft_wrap=True)
            due += HEARTBEAT_SECONDS

    return beat


def _since(began: float) -> str:
    return f"{time.monotonic() - began:.0f} s"
