"""`troth agent`: prints which connections a node has, for `troth learn` and the auditor."""

import signal
import sys
import threading
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

_PAUSE = 9
"""Pause as a multiple of a look, so that a huge table costs a tenth of a processor at most."""


def agent(
    node: Annotated[
        str, typer.Option(envvar="NODE_NAME", help="Name of the node, for the output.")
    ] = "",
    *,
    tables: Annotated[
        Path,
        typer.Option(help="Folder with nf_conntrack, fib_trie and if_inet6 of the node."),
    ] = Path("/proc/net"),
    interval: Annotated[
        float, typer.Option(min=0.1, max=60, help="Seconds between two looks at the table.")
    ] = 5.0,
    summary_interval: Annotated[
        float, typer.Option(min=1, max=3600, help="Seconds between two lists of all pairs.")
    ] = 300.0,
) -> None:
    """Print which connections a node has, as JSON lines, until it is stopped.

    The command reads the kernel's table of tracked connections. It opens no port, makes no
    connection and reads no payload. The kernel keeps a closed connection for ten seconds at least,
    so the default interval misses none. If the table is so large that a look takes more than a
    second, the agent looks less often; the output names the longest time between two looks.
    `troth learn --from-agents` reads the output.
    """
    from troth.cli.agent.watch import Tables, Watch  # noqa: PLC0415
    from troth.serving.garbage import collect_seldom  # noqa: PLC0415

    collect_seldom()
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    watch = Watch(
        Tables.below(tables),
        node,
        lambda: datetime.now(UTC),
        timedelta(seconds=summary_interval),
    )
    while not stopped.is_set():
        began = time.monotonic()
        _print(watch.look())
        stopped.wait(max(interval, _PAUSE * (time.monotonic() - began)))
    _print(watch.look())
    _print(watch.last())


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
