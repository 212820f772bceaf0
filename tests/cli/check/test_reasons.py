"""Reasons that `troth check` and `troth status` treat in a special way are reasons that exist."""

import re
from pathlib import Path

from troth.cli.evaluation import evaluate
from troth.cli.status import overview

ROOT = Path(__file__).parents[3]


def test_every_reason_that_suppresses_a_finding_is_produced_or_documented() -> None:
    names = [name for name in vars(evaluate) if name.startswith("OF_")]
    reasons = overview._DRIFTING | {evaluate.SHARED, evaluate.NO_NAMESPACE}
    reasons |= reasons.union(*(getattr(evaluate, name) for name in names))
    assert len(reasons) > 30
    package = ROOT / "operator/troth"
    modules = [
        file
        for folder in ("planning", "trust", "world")
        for file in (package / folder).rglob("*.py")
    ]
    words = {
        word for file in modules for word in re.findall(r'"([A-Z][A-Za-z]+)"', file.read_text())
    }
    words |= {*re.findall(r"`(\w+)`", (ROOT / "docs/reference/conditions.md").read_text())}
    assert reasons - words == set()
