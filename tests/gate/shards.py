"""Divides the test files of a whole run into shards, and merges the summaries of all shards."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.gate.sizes import Size, files_below
from tests.ordering import RECORDED

UNLISTED = 1.0
"""Seconds of a file that `durations.json` does not list: it lists all files that take longer."""
WORKERS = {Size.ALONE: 1, Size.LARGE: 4, Size.MEDIUM: 4, Size.SMALL: 3}
"""Files of a size that run at the same time. `WORKERS` of the environment changes no division."""


@dataclass(frozen=True, slots=True)
class Shard:
    """One of `count` shards; the first has the number 1."""

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Return the shard of a text such as `2/6`. Raises `ValueError` if it names none."""
        if match := re.fullmatch(r"([1-9][0-9]{0,3})/([1-9][0-9]{0,3})", text, re.ASCII):
            number, count = map(int, match.groups())
            if number <= count:
                return cls(number, count)
        raise ValueError(f"SHARD={text} names no shard; the second of six shards is SHARD=2/6")

    def files(self) -> tuple[str, ...]:
        """Return the test files of this shard. Raises `ValueError` for more shards than files."""
        return divide(files_below(), json.loads(RECORDED.read_text()), self.count)[self.number - 1]


def divide(
    files: Mapping[Size | None, Iterable[str]], seconds: Mapping[str, float], count: int
) -> list[tuple[str, ...]]:
    """Return the files of each shard: the longest first, each to the shard with the least time.

    Files that run alone come first, so that they are spread. `seconds` has paths below the root.
    Raises `ValueError` for more shards than files.
    """
    weights = {
        name: max(UNLISTED, seconds.get(f"tests/{name}", UNLISTED)) / WORKERS[size]
        for size, names in files.items()
        if size
        for name in names
    }
    if count > len(weights):
        raise ValueError(f"{len(weights)} test files cannot be divided into {count} shards")
    alone = set(files.get(Size.ALONE, ()))
    loads = [0.0] * count
    shards: list[list[str]] = [[] for _ in range(count)]
    for name in sorted(weights, key=lambda each: (each not in alone, -weights[each], each)):
        least = loads.index(min(loads))
        loads[least] += weights[name]
        shards[least].append(name)
    return [tuple(sorted(each)) for each in shards]


def keep(shard: Shard, found: dict[str, Any], folder: Path) -> list[dict[str, Any]]:
    """Keep the summary of a shard, and return those of all shards kept for its commit.

    A shard of a tree with changes says nothing about its commit, so it is not kept.
    """
    place = folder / found["commit"] / f"of-{shard.count}"
    if found["clean"]:
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{shard.number}.json").write_text(json.dumps(found, indent=1) + "\n")
    files = [place / f"{number}.json" for number in range(1, shard.count + 1)]
    return [json.loads(file.read_text()) for file in files if file.exists()]


def merge(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the summary of a whole run from those of all its shards."""
    whole: dict[str, Any] = {**found[0], "date": max(each["date"] for each in found)}
    for name in ("passed", "failed", "skipped"):
        whole[name] = sum(each[name] for each in found)
    whole["errors"] = [error for each in found for error in each["errors"]]
    for name in ("failures", "flaky"):
        whole[name] = {test: text for each in found for test, text in each[name].items()}
    for name in ("minutes", "seconds"):
        total: Counter[str] = Counter()
        for each in found:
            total.update(each[name])
        whole[name] = {key: round(taken, 1) for key, taken in total.items()}
    whole["seconds"] = dict(sorted(whole["seconds"].items()))
    return whole | {"shards": len(found)}


def closing_line(shard: Shard, found: dict[str, Any], kept: int) -> str:
    """Return how many shards of the commit are still to run."""
    left = f"{shard.count - kept} of {shard.count} shards of this commit are still to run"
    if not found["clean"]:
        return f"{left}; this one does not count, because the tree has changes"
    return left
