"""The audit log, judged by an independent implementation of docs/audit-log.md in Go."""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from sandbox.tools import ensure
from tests.edge.events.trade import bundle_map, leaf
from tests.edge.mounts import workload
from tests.patience import PATIENCE
from tests.review.trail.scene import DECISIONS, WORKER, ConfigMaps, Output, Worker, appended
from tests.virtual_time import run
from troth.resources.algorithms import KeyAlgorithm


def judged(lines: Sequence[str], bundle: Path, worker: str = WORKER) -> list[tuple[int, str]]:
    """Return the number of each line's entry, and its fault in the judge's words."""
    bundle.write_text(json.dumps(bundle_map()))
    done = subprocess.run(
        [ensure("audit-judge"), bundle, worker],
        input="".join(f"{each}\n" for each in lines),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = map(json.loads, done.stdout.splitlines())
    return [(each["sequence"], each["fault"]) for each in found]


def logged(path: Path, algorithm: KeyAlgorithm = KeyAlgorithm.ECDSA_P256) -> list[str]:
    worker, output = Worker(path), Output()
    worker.issue(leaf(WORKER, at=worker.now - 60, algorithm=algorithm))
    run(appended(worker.log(ConfigMaps(), output), *DECISIONS))
    return output.lines


@pytest.mark.parametrize("algorithm", KeyAlgorithm)
def test_go_verifies_chain_and_signatures(algorithm: KeyAlgorithm, tmp_path: Path) -> None:
    lines = logged(tmp_path, algorithm)
    verdicts = judged(lines, tmp_path / "bundle.json")
    assert verdicts == [(number + 1, "") for number in range(len(lines))]


def test_go_finds_an_edit_a_gap_a_swap_and_a_foreign_signer(tmp_path: Path) -> None:
    lines, bundle = logged(tmp_path), tmp_path / "bundle.json"
    edited = [*lines[:4], lines[4].replace("Redriven", "Discarded")]
    assert judged(edited, bundle)[-1] == (5, "the signature is not the leaf's")
    assert judged([*lines[:3], lines[4]], bundle)[-1] == (5, "the entry before it is missing")
    swapped = [*lines[:3], lines[4], lines[3]]
    assert all(fault for _, fault in judged(swapped, bundle)[3:])
    others = judged(lines, bundle, workload("other"))
    assert {fault for _, fault in others} == {"the leaf is not the worker's"}
