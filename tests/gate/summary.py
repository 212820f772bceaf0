"""What a run says at its end, and the files that keep it."""

import json
import subprocess
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.gate.parts import Tier
from tests.gate.record import first_line
from tests.gate.running import Outcome
from tests.gate.sizes import ROOT

LAST_WHOLE_RUN = ROOT / "tests" / "last-whole-run.json"


def summary(tier: Tier, outcome: Outcome) -> dict[str, Any]:
    """Return the summary of a run, as JSON."""
    seconds: Counter[str] = Counter()
    for result in outcome.results:
        seconds.update(result.record.seconds)
    return {
        "commit": _git("rev-parse", "HEAD"),
        "clean": not _git("status", "--porcelain"),
        "date": datetime.now(UTC).date().isoformat(),
        "tier": tier,
        "passed": outcome.passed,
        "failed": len(outcome.failures),
        "skipped": outcome.skipped,
        "errors": outcome.errors,
        "failures": {test: first_line(text) for test, text in outcome.failures.items()},
        "flaky": outcome.flaky,
        "minutes": {each.name: round(each.seconds / 60, 1) for each in outcome.results},
        "seconds": {folder: round(taken) for folder, taken in sorted(seconds.items())},
    }


def closing_lines(found: dict[str, Any]) -> list[str]:
    """Return the last lines of a run: time of each part, errors, failures, flaky tests, counts."""
    minutes = found["minutes"]
    parts = ", ".join(f"{name} {taken}" for name, taken in minutes.items())
    total = f"{sum(minutes.values()):.1f} min ({parts})"
    lines = [f"{found['tier']} of {found['commit'][:10]}: {total}"]
    lines += [f"ERROR {error}" for error in found["errors"]]
    lines += [f"FAILED {test}: {error}" for test, error in found["failures"].items()]
    if flaky := found["flaky"]:
        lines.append("Flaky: failed, and passed alone. Each is a fault of the test or a race:")
        lines += [f"FLAKY {test}: {first_line(text)}" for test, text in flaky.items()]
    lines.append("{passed} passed, {failed} failed, {skipped} skipped".format(**found))
    return lines


def record_whole_run(found: dict[str, Any], file: Path = LAST_WHOLE_RUN) -> None:
    """Keep the summary of a whole run. Tracebacks stay out: they are long, and name local paths."""
    flaky = {test: first_line(text) for test, text in found["flaky"].items()}
    file.write_text(json.dumps({**found, "flaky": flaky}, indent=1) + "\n")


def age_of_last_whole_run(file: Path = LAST_WHOLE_RUN) -> list[str]:
    """Return lines about the last recorded run of every test."""
    if not file.exists():
        return ["No whole run is recorded; `make test-all` runs every test."]
    found = json.loads(file.read_text())
    since = _git("rev-list", "--count", f"{found['commit']}..HEAD") or "an unknown number of"
    counts = "{passed} passed, {failed} failed".format(**found)
    lines = [f"Last whole run: {found['date']}, {since} commits ago, {counts}."]
    return lines + [f"  {kind} {test}" for kind in ("failures", "flaky") for test in found[kind]]


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
