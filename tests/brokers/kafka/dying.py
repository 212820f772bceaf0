"""Consumer in a process of its own, which kills itself at one point of its work.

Its argument is JSON: `identity` and `bundle` (the mounts), `properties` (of librdkafka), `valkey`
(the URL of the store), `group`, `handled` (the file that has the IDs of handled events), and `die`.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from tests.edge.events.trade import POLICY
from troth.edge.events.adapters.confluent import EventConsumer
from troth.edge.events.consumption.blocking_duplicates import BlockingClaim, BlockingDuplicates
from troth.edge.events.consumption.duplicates import PREFIX, Duplicates
from troth.edge.events.consumption.handlers import handler
from troth.edge.events.event import Event
from troth.edge.identity.files import Identity
from troth.replay.valkey import Valkey

POINTS = (
    "in the handler",
    "after the handler",
    "after the mark",
    "after the dead letter",
    "after all",
)


def duplicates(url: str, group: str) -> BlockingDuplicates:
    """Return a memory whose claims end soon after a crash."""
    return BlockingDuplicates(
        Duplicates(Valkey(url, prefix=PREFIX), 3600.0, group=group, lease=2.0)
    )


def note(path: Path, event: Event) -> None:
    """Do the work of an event: write its ID."""
    with path.open("a") as file:
        file.write(f"{event.id}\n")
        file.flush()
        os.fsync(file.fileno())


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main(given: dict[str, Any]) -> None:
    point, stored = given["die"], EventConsumer._store
    done = BlockingClaim.done

    @handler(policy=POLICY)
    def handle(event: Event) -> None:
        if point == "in the handler":
            die()
        note(Path(given["handled"]), event)
        if point == "after the handler":
            die()

    def mark(claim: BlockingClaim) -> None:
        done(claim)
        if point == "after the mark":
            die()

    def store(consumer: EventConsumer, record: Any) -> None:
        # the second message is the one that is rejected
        if point == "after the dead letter" and record.offset() == 1:
            die()
        stored(consumer, record)
        if point == "after all" and record.offset() == 1:
            die()

    setattr(BlockingClaim, "done", mark)  # noqa: B010 - mypy allows no assignment
    setattr(EventConsumer, "_store", store)  # noqa: B010
    identity = Identity(given["identity"], given["bundle"])
    memory = duplicates(given["valkey"], given["group"])
    with EventConsumer(identity, handle, given["properties"], duplicates=memory) as consumer:
        consumer.run()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
