"""The record: files with Troth's plans, documents and public text, made again at each run."""

import json
from functools import cache
from pathlib import Path

from tests.net.canonical import dumped
from tests.net.coverage import Coverage
from tests.net.examples import EXAMPLES, Played, played
from tests.net.texts import texts
from tests.net.worlds import worlds
from troth.reconcile.apply.execute import STEP_HANDLERS
from troth.reconcile.brokers.work import BROKER_HANDLERS

FOLDER = Path(__file__).parent / "recorded"
WORLDS, COVERAGE = "worlds.txt", "coverage.txt"
DOCUMENTS, TEXTS = "documents.txt", "texts.txt"
ALL_STEPS = frozenset(each.__name__ for each in (*STEP_HANDLERS, *BROKER_HANDLERS))


def kept(name: str) -> str:
    """Return a file of the record as stored."""
    file = FOLDER / name
    return file.read_text(encoding="utf-8") if file.exists() else ""


@cache
def made() -> dict[str, str]:
    """Return every file of the record as this checkout makes it."""
    return {
        **{example_file(each.name): example(each.name) for each in EXAMPLES},
        DOCUMENTS: documents(),
        TEXTS: public_texts(),
        WORLDS: worlds_and_coverage()[0],
        COVERAGE: coverage_text(),
    }


def write() -> list[str]:
    """Write the record; return the names of the files that changed."""
    changed = [name for name, text in made().items() if kept(name) != text]
    for name in changed:
        file = FOLDER / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(made()[name], encoding="utf-8")
    return changed


def example_file(name: str) -> str:
    return f"examples/{name}.json"


@cache
def _played(name: str) -> Played:
    return played(next(each for each in EXAMPLES if each.name == name))


def example(name: str) -> str:
    """Return the plans of an example."""
    return f"{dumped(_played(name).plans, indent=1)}\n"


def documents() -> str:
    """Return every document that Troth writes for the examples, each under its place."""
    found = []
    for each in EXAMPLES:
        for place, text in _played(each.name).documents.items():
            found.append(f"==== {each.name}: {place}\n{text.rstrip()}\n")
    return "\n".join(found)


@cache
def public_texts() -> str:
    """Return all public text, each string on a line of its own."""
    found = []
    for name, each in texts().items():
        found.append(f"==== {name}")
        found += (json.dumps(text, ensure_ascii=False)[1:-1] for text in each)
    return "\n".join((*found, ""))


@cache
def worlds_and_coverage() -> tuple[str, Coverage]:
    """Return a line for each world, and their coverage."""
    coverage = Coverage()
    lines = [each.line for each in worlds(coverage)]
    return "\n".join((*lines, "")), coverage


def coverage_text() -> str:
    """Return the number of worlds with each type of step and each reason."""
    _, coverage = worlds_and_coverage()
    counted = {**dict.fromkeys(ALL_STEPS, 0), **coverage.steps}
    steps = (f"{name} {count}" for name, count in sorted(counted.items()))
    reasons = (f"{name} {count}" for name, count in sorted(coverage.reasons.items()))
    return "\n".join(("==== steps", *steps, "==== types, reasons, states", *reasons, ""))
