"""Reports compute quantiles and ratios, and show them as JSON and as tables."""

import io
import json

import pytest
from rich.console import Console

from benchmarks.harness.report import Comparison, Figure, Report, quantile
from benchmarks.harness.tables import tables

HUNDRED = [each / 1000 for each in range(100, 0, -1)]


@pytest.mark.parametrize(
    ("share", "expected"), [(0.0, 0.001), (0.5, 0.0505), (0.99, 0.09901), (1.0, 0.1)]
)
def test_quantile_is_interpolated(share: float, expected: float) -> None:
    assert quantile(HUNDRED, share) == pytest.approx(expected)


def test_every_quantile_of_one_time_is_that_time() -> None:
    assert {quantile([0.3], share) for share in (0.0, 0.5, 0.99, 1.0)} == {0.3}


def test_ratio_compares_the_same_quantile_of_both_sides() -> None:
    row = Comparison("a change", troth=[0.2, 0.4, 0.9], floor=[0.1, 0.1, 0.3])
    assert row.ratio(0.5) == pytest.approx(4)
    assert row.ratio(1.0) == pytest.approx(3)


def test_json_has_every_time() -> None:
    report = Report("changes", [Comparison("a change", [0.2, 0.4], [0.1, 0.1])])
    (row,) = json.loads(json.dumps(report.content()))["rows"]
    assert row["troth"]["seconds"] == [0.2, 0.4]
    assert row["floor"]["max"] == 0.1
    assert row["ratio"]["max"] == pytest.approx(4)


def test_json_shows_whether_each_aim_is_met() -> None:
    rows = [Comparison("a change", [0.2], [0.1], aim=1.5), Comparison("other", [0.2], [0.1])]
    figures = [Figure("size", 100, "MB", aim=120), Figure("count", 3)]
    content = json.loads(json.dumps(Report("changes", rows, figures=figures).content()))
    assert [(row["aim"], row["kept"]) for row in content["rows"]] == [(1.5, False), (None, None)]
    assert content["figures"] == [
        {"what": "size", "value": 100, "unit": "MB", "aim": 120, "kept": True},
        {"what": "count", "value": 3, "unit": "", "aim": None, "kept": None},
    ]


def test_aim_is_met_when_just_reached() -> None:
    assert Figure("size", 120, aim=120).kept
    assert not Figure("size", 120.001, aim=120).kept
    assert Comparison("a change", [0.2], [0.1], aim=2).kept


def test_aim_applies_to_p99_but_not_to_the_maximum() -> None:
    floor = [0.1] * 1000
    assert Comparison("a change", [*[0.1] * 999, 9.0], floor, aim=3).kept
    assert not Comparison("a change", [*[0.1] * 980, *[9.0] * 20], floor, aim=3).kept


def printed(report: Report) -> list[str]:
    console = Console(width=120, file=io.StringIO(), record=True)
    for table in tables(report):
        console.print(table)
    return [line.strip() for line in console.export_text().splitlines()]


def shown(report: Report, what: str) -> list[str]:
    """Return the cells of the line that contains `what`."""
    (line,) = [line for line in printed(report) if what in line]
    return [cell.strip() for cell in line.strip("│").split("│")]


def test_table_shows_ratios_before_milliseconds() -> None:
    report = Report("changes", [Comparison("a change", [0.2, 0.4], [0.1, 0.1])])
    cells = ["a change", "2", "3.0x / 4.0x", "300 / 398 / 400", "100 / 100 / 100"]
    assert shown(report, "a change") == cells


def test_table_shows_whether_an_aim_is_met() -> None:
    report = Report("changes", [Comparison("a change", [0.2, 0.4], [0.1, 0.1], aim=3.5)])
    assert shown(report, "a change")[2:4] == ["3.0x / 4.0x", "3.5x, missed"]


def test_figures_have_a_separate_table() -> None:
    rows = [Comparison("a change", [0.2], [0.1])]
    figures = [Figure("memory", 118.25, "MB", aim=120), Figure("pages", 20000)]
    report = Report("changes", rows, figures=figures)
    assert shown(report, "a change") == ["a change", "2.0x", "200", "100"]
    assert shown(report, "memory") == ["memory", "118.25 MB", "120 MB, kept"]
    assert shown(report, "pages") == ["pages", "20,000", ""]


def test_title_is_above_all_tables_and_note_below_them() -> None:
    rows, figures = [Comparison("a change", [0.2], [0.1])], [Figure("pages", 4)]
    for report in (
        Report("a title", rows, "a note", figures),
        Report("a title", rows, "a note"),
        Report("a title", note="a note", figures=figures),
    ):
        lines = printed(report)
        assert (lines[0], lines[-1]) == ("a title", "a note")
        assert (lines.count("a title"), lines.count("a note")) == (1, 1)
