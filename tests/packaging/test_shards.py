"""Shards divide a whole run, and their results become that of one whole run."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.gate.__main__ import app
from tests.gate.shards import WORKERS, Shard, closing_line, divide, keep, merge
from tests.gate.sizes import Size, files_below, size_of
from tests.ordering import RECORDED

FILES = files_below()
SECONDS = json.loads(RECORDED.read_text())


def summary(number: int, **changes: Any) -> dict[str, Any]:
    found = {"commit": "a", "clean": True, "date": f"2026-01-0{number}", "tier": "all"}
    counts = {"passed": number, "failed": 1, "skipped": 2, "errors": [f"check: {number}"]}
    tests = {"failures": {f"f{number}": "x"}, "flaky": {f"y{number}": "x"}}
    times = {"minutes": {"small": 0.1}, "seconds": {"tests/b": 1, f"tests/a{number}": 2}}
    return found | counts | tests | times | changes


@pytest.mark.parametrize("count", [1, 2, 6, 40])
def test_each_file_is_in_one_shard(count: int) -> None:
    shards = divide(FILES, SECONDS, count)
    everything = [name for names in FILES.values() for name in names]
    assert sorted(name for shard in shards for name in shard) == sorted(everything)
    assert all(shards)


def test_shards_take_about_equal_time_and_spread_files_that_run_alone() -> None:
    shards = divide(FILES, SECONDS, 6)
    times = [
        sum(
            SECONDS.get(f"tests/{name}", 1) / WORKERS[size]
            for name in shard
            if (size := size_of(name))
        )
        for shard in shards
    ]
    longest = max(SECONDS[f"tests/{name}"] for name in FILES[Size.ALONE])
    assert max(times) <= max(1.1 * sum(times) / 6, longest)
    assert all(set(shard) & set(FILES[Size.ALONE]) for shard in shards)


def test_division_does_not_depend_on_the_order_or_the_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = divide(FILES, SECONDS, 6)
    monkeypatch.setenv("WORKERS", "16")
    turned = {size: names[::-1] for size, names in reversed(FILES.items())}
    assert divide(turned, SECONDS, 6) == before


def test_more_shards_than_files_are_refused() -> None:
    with pytest.raises(ValueError, match="1 test files cannot be divided into 2 shards"):
        divide({Size.SMALL: ["a"]}, {}, 2)


@pytest.mark.parametrize("text", ["0/6", "7/6", "a", "", "2", "2/6\n", "-1/6", "1/0", "٢/٦"])
def test_malformed_shard_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="names no shard"):
        Shard.parse(text)


@pytest.mark.parametrize(
    "arguments", [["gate", "--shard=1/2"], ["all", "--shard=1/2", "edge"], ["all", "--shard=7/6"]]
)
def test_shard_that_cannot_run_is_refused(arguments: list[str]) -> None:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert "SHARD" in result.output


def test_shards_of_one_clean_commit_become_whole_in_any_order(tmp_path: Path) -> None:
    first, second = Shard(1, 2), Shard(2, 2)
    assert len(keep(second, summary(2), tmp_path)) == 1
    assert len(keep(Shard(1, 3), summary(1), tmp_path)) == 1
    assert len(keep(first, summary(1, commit="b"), tmp_path)) == 1
    assert len(keep(first, summary(1, clean=False), tmp_path)) == 1
    assert len(keep(second, summary(2, passed=9), tmp_path)) == 1
    kept = keep(first, summary(1), tmp_path)
    assert [each["passed"] for each in kept] == [1, 9]


def test_merged_summary_has_the_form_of_a_whole_run() -> None:
    assert merge([summary(1), summary(2)]) == {
        "commit": "a",
        "clean": True,
        "date": "2026-01-02",
        "tier": "all",
        "shards": 2,
        "passed": 3,
        "failed": 2,
        "skipped": 4,
        "errors": ["check: 1", "check: 2"],
        "failures": {"f1": "x", "f2": "x"},
        "flaky": {"y1": "x", "y2": "x"},
        "minutes": {"small": 0.2},
        "seconds": {"tests/a1": 2, "tests/a2": 2, "tests/b": 2},
    }


def test_closing_line_says_what_is_left() -> None:
    line = closing_line(Shard(1, 6), summary(1), 2)
    assert line == "4 of 6 shards of this commit are still to run"
    assert "does not count" in closing_line(Shard(1, 6), summary(1, clean=False), 2)
