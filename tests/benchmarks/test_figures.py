"""Figures say what was measured, in whatever form."""

import io
import json

import pytest
from rich.console import Console

from benchmarks.figures import Comparison, Report, quantile
from benchmarks.tables import table

HUNDRED = [each / 1000 for each in range(100, 0, -1)]


@pytest.mark.parametrize(
    ("share", "expected"), [(0.0, 0.001), (0.5, 0.0505), (0.99, 0.09901), (1.0, 0.1)]
)
def test_a_quantile_is_interpolated_between_the_times_in_their_order(
    share: float, expected: float
) -> None:
    assert quantile(HUNDRED, share) == pytest.approx(expected)


def test_every_quantile_of_one_time_is_that_time() -> None:
    assert {quantile([0.3], share) for share in (0.0, 0.5, 0.99, 1.0)} == {0.3}


def test_a_ratio_is_of_the_same_quantile_on_both_sides() -> None:
    row = Comparison("a change", troth=[0.2, 0.4, 0.9], floor=[0.1, 0.1, 0.3])
    assert row.ratio(0.5) == pytest.approx(4)
    assert row.ratio(1.0) == pytest.approx(3)


def test_json_has_every_time_that_was_taken() -> None:
    report = Report("changes", [Comparison("a change", [0.2, 0.4], [0.1, 0.1])])
    (row,) = json.loads(json.dumps(report.content()))["rows"]
    assert row["troth"]["seconds"] == [0.2, 0.4]
    assert row["floor"]["max"] == 0.1
    assert row["ratio"]["max"] == pytest.approx(4)


def test_a_table_shows_ratios_before_milliseconds() -> None:
    console = Console(width=120, file=io.StringIO(), record=True)
    console.print(table(Report("changes", [Comparison("a change", [0.2, 0.4], [0.1, 0.1])])))
    (line,) = [line for line in console.export_text().splitlines() if "a change" in line]
    cells = [cell.strip() for cell in line.strip("│").split("│")]
    assert cells == ["a change", "2", "3.0x / 4.0x", "300 / 398 / 400", "100 / 100 / 100"]
