"""A process that carries out one review at a real broker, until it is killed or done.

Called with the path of a file of JSON. It connects with the files in `credentials`, or to `topic`
with the configuration `kafka`. What survives it are the broker and the file `state`.
"""

import asyncio
import json
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.edge.events.trade import POLICY
from troth.documents.identity.document import Messages
from troth.edge.events.redriving import RedriveSealer
from troth.edge.identity.files import Identity
from troth.resources.references import Ref
from troth.resources.reviews.dead_letter_review import DeadLetterReview
from troth.resources.reviews.dead_letter_review_status import SelectionStatus
from troth.review.brokers import DeadLetterTopic, Stored
from troth.review.connecting import connect
from troth.review.index.feeder import Feeder
from troth.review.index.store import LetterIndex
from troth.review.kafka.topic import KafkaTopic
from troth.review.letters.judgement import Judge
from troth.review.letters.letter import Letter, Position
from troth.review.letters.reading import LetterReader
from troth.review.letters.records import Records
from troth.review.running.courier import Courier
from troth.review.running.job import Job, Tools
from troth.review.running.pace import TokenBucket
from troth.review.running.progress import Progress
from troth.review.running.runner import Runner
from troth.review.selection import selection_of
from troth.review.trail.decisions import Decision


class Audit:
    """An audit log that nobody reads."""

    fault: str | None = None

    async def append(self, entry: Decision) -> int:
        assert entry.decision
        return 1


class Desk:
    """What the runner is told; the state is written before anything depends on it."""

    def __init__(self, state: Path) -> None:
        self._state = state

    def stopped(self) -> bool:
        return False

    def require(self) -> None:
        """This process may always act."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    async def pause(self, failures: int) -> None:
        await asyncio.sleep(0.1 * failures)

    def waits(self, reason: str, message: str) -> None:
        print("waits", reason, message, flush=True)  # noqa: T201 - for the campaign

    def advanced(self, progress: Progress) -> None:
        print("advanced", progress.total, flush=True)  # noqa: T201 - for the campaign

    async def announce(self, progress: Progress) -> None:
        self.write({"phase": "Running", "counts": dict(progress.numbers())})

    def write(self, state: Mapping[str, Any]) -> None:
        """Write the state as a whole, as an API server does."""
        whole = {**self.read(), **state}
        new = self._state.with_suffix(".new")
        new.write_text(json.dumps(whole))
        os.replace(new, self._state)  # noqa: PTH105 - atomic

    def read(self) -> dict[str, Any]:
        return json.loads(self._state.read_text()) if self._state.exists() else {}


class OneByOne:
    """Reads letters from their topic."""

    def __init__(self, topic: DeadLetterTopic) -> None:
        self._topic = topic

    async def fetch(self, letters: Sequence[Letter]) -> Mapping[Position, Stored]:
        found = [await self._topic.get(each.position) for each in letters]
        return {each.position: each for each in found if each is not None}


def opened(options: Mapping[str, Any], entry: Messages) -> DeadLetterTopic:
    if "kafka" in options:
        return KafkaTopic(options["topic"], POLICY, lambda: options["kafka"])
    return connect(entry, Path(options["credentials"]))


async def main(options: dict[str, Any]) -> None:
    review = DeadLetterReview.model_validate(options["review"])
    identity = Identity(options["identity"], options["bundle"])
    desk = Desk(Path(options["state"]))
    index = LetterIndex(Path(options["index"]))
    index.forget(Ref("shop", "orders"))  # the disk is lost with every process
    index.holds.release(Ref("shop", "orders"))
    sealer = RedriveSealer(identity, POLICY)
    reader = LetterReader(identity, POLICY)
    topic = opened(options, reader.entry)
    feeder = Feeder(topic, index, reader)
    feeding = asyncio.create_task(feeder.run())
    await feeder.caught_up()
    state = desk.read()
    created = datetime.fromisoformat(options["created"])
    if "selection" not in state:
        made = selection_of(index, review, datetime.now(UTC).replace(microsecond=0))
        desk.write({"selection": made.manifest()})
        state = desk.read()
    selection = SelectionStatus.model_validate(state["selection"])
    uncertain = state.get("phase") == "Running"
    progress = Progress(state.get("counts", {}).get("repeated", 0))
    desk.write({"phase": "Running"})
    tools = Tools(
        topic=topic,
        index=index,
        courier=Courier(topic, OneByOne(topic), reader, Judge(identity, POLICY), sealer),
        records=Records(identity, POLICY),
        audit=Audit(),
        bucket=TokenBucket(review.spec.rate),
        following=feeder,
    )
    print("working", flush=True)  # noqa: T201 - for the campaign
    job = Job(review, review.metadata.uid, created, selection, uncertain)
    assert await Runner(job, tools, desk, progress).run()
    desk.write({"phase": "Completed", "counts": dict(progress.numbers())})
    feeding.cancel()
    await asyncio.gather(feeding, return_exceptions=True)
    await topic.close()


if __name__ == "__main__":
    asyncio.run(main(json.loads(Path(sys.argv[1]).read_text())))
