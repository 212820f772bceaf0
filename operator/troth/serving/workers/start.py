"""Starts workers as copies of this process.

Each worker is the program that it would be alone, with a link to its supervisor. Copying the
process after its imports starts a worker at once, shares the memory of the imports, and hands over
the options without writing them anywhere. It is safe because the process has one thread and no
event loop yet.
"""

import asyncio
import gc
import os
import socket
import sys

from troth.serving.workers.link import Link, WorkerLink
from troth.serving.workers.supervisor import Child, Supervisor


def start_workers(count: int, health_listen: tuple[str, int]) -> Link:
    """Start workers, and return in each of them, with its link.

    This process becomes the supervisor. It serves the health endpoints, and exits (`SystemExit`)
    after the last worker.
    """
    gc.collect()
    gc.freeze()  # a collection would write to objects that all processes share
    sys.stdout.flush()
    sys.stderr.flush()
    children: list[Child] = []
    for number in range(1, count + 1):
        kept, given = socket.socketpair()
        pid = os.fork()
        if not pid:
            # the end of a link is noticed only if no worker holds the supervisor's side
            for each in (kept, *(child.link.socket for child in children)):
                each.close()
            return Link(number, given)
        given.close()
        children.append(Child(number, pid, WorkerLink(kept)))
    sys.exit(asyncio.run(Supervisor(children).run(health_listen)))
