"""Judges of events: verifiers in Go and Java that were written from docs/events.md alone."""

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandbox.tools import ensure
from tests.edge.events.vectors import Document, verdict, verdicts
from tests.judges.tools import Tool, tool
from tests.patience import PATIENCE

SOURCES = Path(__file__).parent / "eventjudge"
UNSHOWN = {"trothchain", "trothtxntoken"}


@dataclass(frozen=True)
class Verdict:
    """Verdict on one vector, and the attributes of an accepted event."""

    verdict: str
    attributes: Mapping[str, str] | None = None


@dataclass(frozen=True)
class EventJudge:
    """A program that reads a file of vectors and prints a line of JSON for each."""

    argv: tuple[str | Path, ...]

    def judge(self, document: Document) -> dict[str, Verdict]:
        done = subprocess.run(
            self.argv,
            input=json.dumps(document),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return {line["name"]: _verdict(line) for line in map(json.loads, done.stdout.splitlines())}


def in_go() -> EventJudge:
    return EventJudge((ensure("event-judge"),))


def in_java(java: Tool, classes: Path) -> EventJudge:
    """Compile the judge into a directory; its JSON Schema has few keywords."""
    compiled, said = tool("javac")(
        "-Xlint:all", "-Werror", "-d", classes, *sorted(SOURCES.glob("*.java"))
    )
    assert compiled, said
    # A run of a second does not repay compilation.
    return EventJudge((java.path, "-XX:TieredStopAtLevel=1", "-cp", classes, "EventJudge"))


def by_troth(document: Document) -> dict[str, str]:
    return {name: verdict(opened) for name, opened in verdicts(document)}


def _verdict(line: Mapping[str, Any]) -> Verdict:
    shown = line.get("attributes")
    if shown is None:
        return Verdict(line["verdict"])
    return Verdict(line["verdict"], {k: v for k, v in shown.items() if k not in UNSHOWN})
