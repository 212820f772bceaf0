"""The audit log at a real API server: processes are killed, and the chain stays whole."""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sandbox import Sandbox
from tests.cluster.command import troth
from tests.edge.events.trade import bundle_map, leaf
from tests.patience import PATIENCE
from tests.review.trail.scene import HEAD, WORKER, Worker

ROOT = Path(__file__).parents[2]
KILLS = 12


class Place:
    """A namespace with the trust bundle, the files of a worker, and its output."""

    def __init__(self, sandbox: Sandbox, namespace: str, path: Path) -> None:
        self.sandbox, self.namespace = sandbox, namespace
        worker = Worker(path)
        worker.issue(leaf(WORKER, at=time.time() - 60))
        self._mounts = path / "reviewer"
        self.output = path / "audit.jsonl"
        self._apply(
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {
                    "name": "production-bundle",
                    "namespace": namespace,
                    "labels": {"app.kubernetes.io/managed-by": "troth"},
                },
                "data": {"events-bundle-map.json": json.dumps(bundle_map())},
            }
        )

    def _apply(self, manifest: dict[str, Any]) -> None:
        self.sandbox.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))

    @contextmanager
    def process(self, appends: int = 10**6) -> Iterator[subprocess.Popen[str]]:
        """Run a process that appends a number of times, and kill it in the end."""
        with self.output.open("ab") as output:
            started = subprocess.Popen(
                [
                    *(sys.executable, "-m", "tests.cluster.audit_log_process"),
                    *(
                        str(self.sandbox.kubeconfig),
                        self.namespace,
                        str(self._mounts),
                        str(appends),
                    ),
                ],
                stdout=output,
                stderr=subprocess.PIPE,
                text=True,
                cwd=ROOT,
                env=os.environ | {"PYTHONPATH": f"{ROOT / 'operator'}:{ROOT}"},
            )
        try:
            yield started
        finally:
            started.kill()
            started.wait(PATIENCE)
            assert started.stderr is not None
            started.stderr.close()

    async def verified(self) -> tuple[int, dict[str, Any]]:
        ended = await troth(
            self.sandbox.kubeconfig,
            *("audit-log", "verify", str(self.output), "--worker", WORKER, "-o", "json"),
            *("--head", f"{self.namespace}/{HEAD.name}", "--namespace", self.namespace),
        )
        assert ended.code in (0, 1), ended.errors
        return ended.code, json.loads(ended.output)


@pytest.fixture
def place(sandbox: Sandbox, namespace: str, tmp_path: Path) -> Place:
    return Place(sandbox, namespace, tmp_path)


def appended(process: subprocess.Popen[str], number: int) -> list[int]:
    """Return the numbers of the next entries of a process, fewer if it ends."""
    assert process.stderr is not None
    found: list[int] = []
    while len(found) < number and (line := process.stderr.readline()):
        if line.strip().isdigit():
            found.append(int(line))
    return found


async def test_killed_processes_leave_one_chain(place: Place) -> None:
    chosen = random.Random(22)
    told = 0
    for _ in range(KILLS):
        with place.process() as process:
            found = appended(process, chosen.randint(1, 9))
            await asyncio.sleep(chosen.random() / 100)  # where in the next append it is killed
        # none if a request of the killed process arrived after the next had read the head
        assert all(each > told for each in found)
        told = max([told, *found])
    with place.process(appends=1) as last:
        assert last.wait(PATIENCE) == 0
    code, report = await place.verified()
    assert (code, report["faults"]) == (0, [])
    assert report["last"] >= told
    sys.stdout.write(
        f"{KILLS} kills, {report['entries']} entries, {report['repeated']} lines repeated\n"
    )


@pytest.mark.long
async def test_frozen_process_that_was_overtaken_ends_when_it_wakes(place: Place) -> None:
    with place.process() as first:
        appended(first, 3)
        first.send_signal(signal.SIGSTOP)
        with place.process() as second:
            assert len(appended(second, 3)) == 3
            first.send_signal(signal.SIGCONT)
            assert first.wait(PATIENCE) != 0
            assert first.stderr is not None
            assert "OvertakenError" in first.stderr.read()
            assert len(appended(second, 3)) == 3
    with place.process(appends=1) as last:  # the second was perhaps killed before its last line
        assert last.wait(PATIENCE) == 0
    code, report = await place.verified()
    assert (code, report["faults"]) == (0, [])


async def test_truncated_output_is_found_with_the_head_in_the_cluster(place: Place) -> None:
    with place.process() as process:
        appended(process, 5)
    lines = place.output.read_text().splitlines(keepends=True)
    place.output.write_text("".join(lines[:3]))
    code, report = await place.verified()
    assert code == 1
    assert [each["problem"] for each in report["faults"]] == ["Truncated"]
