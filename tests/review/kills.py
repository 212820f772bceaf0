"""Processes that carry out one review, each killed at a random moment of its work."""

import asyncio
import json
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.builders import Manifest
from tests.edge.mounts import Mounts
from tests.patience import PATIENCE
from tests.reviews import dead_letter_review
from troth.edge.events.redrive import redrive_id
from troth.resources.schema.scalars import format_time

LETTERS = 400
MOST_KILLS = 6
SEED = int(os.environ.get("KILLS_SEED", "22"))


class Campaign:
    """One review of `LETTERS` letters; `broker` has the options of the carrier for its topic."""

    def __init__(self, path: Path, reviewer: Mounts, broker: Mapping[str, Any]) -> None:
        self.kills = 0
        self.counts: Mapping[str, int] = {}
        self._state = path / "state.json"
        self._options = path / "options.json"
        created = datetime.now(UTC)
        content: dict[str, Any] = {
            "review": _review(created),
            "identity": str(reviewer.identity.path),
            "bundle": str(reviewer.bundle.path),
            "state": str(self._state),
            "index": str(path / "letters.db"),
            "created": created.isoformat(),
            **broker,
        }
        self._options.write_text(json.dumps(content))

    async def run(self) -> None:
        """Start and kill processes until the review is completed."""
        drawn = random.Random(SEED)
        while not self._state.exists() or self._read().get("phase") != "Completed":
            self.kills += await _live(self._options, drawn if self.kills < MOST_KILLS else None)
        self.counts = self._read()["counts"]

    def check(self, letters: list[str], arrived: Counter[str]) -> int:
        """Compare the redrives that arrived with the letters' IDs; return how many came twice."""
        twice = arrived.total() - len(arrived)
        print(  # noqa: T201 - the figures of the run
            f"{self.kills} kills (seed {SEED}): {len(letters)} messages, {twice} delivered twice, "
            f"{self.counts['repeated']} reported as perhaps repeated"
        )
        assert self.kills
        assert arrived.keys() == {redrive_id("uid-of-fix", each) for each in letters}
        assert self.counts["redriven"] == len(letters)
        assert twice <= self.counts["repeated"]
        return twice

    def _read(self) -> Any:
        return json.loads(self._state.read_text())


def _review(created: datetime) -> Manifest:
    select = {"limit": LETTERS}
    review = dead_letter_review("fix", approved_by="bob", select=select, rate="100/s")
    review["metadata"] |= {"uid": "uid-of-fix", "creationTimestamp": format_time(created)}
    return review


async def _live(options: Path, drawn: random.Random | None) -> bool:
    """Run one process; kill it at a random moment of its work; return whether it was killed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.review.carrier", str(options), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(PATIENCE):
            while (line := await process.stdout.readline()) != b"working\n":
                assert line, await process.wait()
            if drawn is not None:
                await asyncio.sleep(drawn.uniform(0, 0.4))
                if process.returncode is None:
                    process.kill()
            await process.stdout.read()
            code = await process.wait()
            assert code in {0, -signal.SIGKILL}
            return code != 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
