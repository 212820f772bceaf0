"""A process that appends to the audit log, and says so on standard error.

Its arguments are a kubeconfig, the namespace of the head, the mounts of its identity, and the
number of appends.
"""

import asyncio
import sys
from pathlib import Path

from prometheus_client import CollectorRegistry

from tests.review.trail.scene import HEAD, letters
from troth.cluster.api import ApiServer
from troth.cluster.connection.connecting import configuration
from troth.edge.identity.files import Identity
from troth.resources.references import Ref
from troth.review.trail.head_store import HeadStore
from troth.review.trail.log import AuditLog
from troth.review.trail.metrics import AuditLogMetrics
from troth.review.trail.sinks import LineSink


async def main(kubeconfig: str, namespace: str, mounts: Path, appends: int) -> None:
    identity = Identity(mounts / "identity", mounts / "bundle")
    async with ApiServer(await configuration(kubeconfig), field_manager="troth-review") as server:
        log = AuditLog(
            HeadStore(server, Ref(namespace, HEAD.name)),
            identity,
            [LineSink(sys.stdout.buffer)],
            AuditLogMetrics(CollectorRegistry()),
        )
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(log.run())
            for number in range(appends):
                entry = await log.append(letters(number % 7 + 1))
                sys.stderr.write(f"{entry}\n")
                sys.stderr.flush()
            running.cancel()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])))
