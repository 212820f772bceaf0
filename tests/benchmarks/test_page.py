"""The pictures of docs/performance.md show the figures of a run."""

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from benchmarks.fleet import convergence, memory, restart, server_cost, shards, single
from benchmarks.harness.machine import Machine
from benchmarks.harness.report import Comparison, Figure, Report
from benchmarks.page import __main__ as command
from benchmarks.page.pictures import PICTURES, draw, merged, summary
from benchmarks.page.svg import Text, apart, bar_chart, line_chart, number, ticks
from benchmarks.results import Run
from benchmarks.tokens import issuer
from benchmarks.webhooks import gateway
from benchmarks.webhooks.server import Side
from tests.guides.pages import DOCS

MACHINE = Machine("a processor", 2, 8.0, "Linux x86_64", "3.11.0", 0.1)
TEXT = Text("Time <until> ready", "identities", "seconds")
PERFORMANCE = DOCS / "performance"
SVG = "{http://www.w3.org/2000/svg}"


def content(benchmark: str, *reports: Report) -> dict[str, Any]:
    run = Run(benchmark, MACHINE, short=False, seconds=1.5, reports=reports)
    return {"runs": [json.loads(json.dumps(run.content()))]}


def growth(*sizes: int) -> dict[str, Any]:
    what = "restart, memory at rest"
    reports = [
        Report(f"Growth: {size:,} identities", figures=[Figure(what, size / 10, "MB")])
        for size in sizes
    ]
    return content("growth", *reports)


def texts(svg: str) -> list[str]:
    return [each.text or "" for each in ET.fromstring(svg).iter(f"{SVG}text")]


@pytest.mark.parametrize(
    ("highest", "expected"),
    [
        (10_000, [0, 2000, 4000, 6000, 8000, 10_000]),
        (7, [0, 2, 4, 6, 8]),
        (0.03, [0, 0.01, 0.02, 0.03]),
    ],
)
def test_marks_of_an_axis_are_round(highest: float, expected: list[float]) -> None:
    assert ticks(highest) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("value", "shown"), [(0, "0"), (2, "2"), (17.42, "17.4"), (1234.5, "1,234")]
)
def test_number_is_short(value: float, shown: str) -> None:
    assert number(value) == shown


def test_names_of_close_lines_do_not_overlap() -> None:
    placed = apart({"low": 100.0, "high": 95.0, "far": 20.0})
    assert placed == {"far": 20.0, "high": 95.0, "low": 111.0}


def test_line_chart_names_each_line_and_describes_its_values() -> None:
    svg = line_chart(TEXT, {"all new": [(1000, 15), (250, 4)], "restart": [(250, 1), (1000, 2)]})
    assert {"Time <until> ready", "all new", "restart", "seconds"} <= set(texts(svg))
    description = ET.fromstring(svg).findtext(f"{SVG}desc") or ""
    assert "all new: 4 at 250, 15 at 1,000; restart: 1 at 250, 2 at 1,000." in description


def test_larger_values_are_drawn_higher_and_further_right() -> None:
    root = ET.fromstring(line_chart(TEXT, {"all new": [(1000, 15), (250, 4)]}))
    (line,) = root.iter(f"{SVG}polyline")
    first, last = (tuple(map(float, each.split(","))) for each in line.attrib["points"].split())
    assert first[0] < last[0]
    assert first[1] > last[1]


def test_bars_are_as_long_as_their_values_and_an_aim_is_marked() -> None:
    svg = bar_chart(TEXT, {"one": 5, "two": 10}, aim=11)
    widths = [
        float(each.attrib["width"])
        for each in ET.fromstring(svg).iter(f"{SVG}rect")
        if each.attrib["class"] == "c0"
    ]
    assert widths[1] == pytest.approx(2 * widths[0], rel=0.01)
    assert "aim: 11" in texts(svg)


def test_picture_has_colours_for_a_dark_page() -> None:
    assert "@media (prefers-color-scheme:dark){.page{" in bar_chart(TEXT, {"one": 5})


def test_fleets_of_all_sizes_are_one_picture() -> None:
    (file,) = draw(growth(250, 10_000))
    assert file == "growth-memory.svg"
    assert "25 at 250, 1,000 at 10,000" in draw(growth(250, 10_000))[file]


def test_one_size_is_no_curve() -> None:
    assert draw(growth(250)) == {}


def test_committed_results_have_no_single_times() -> None:
    rows = [Comparison("a change", [0.2, 0.4], [0.123456, 0.1], aim=3)]
    (run,) = summary(content("edge", Report("Edges", rows)))["runs"]
    assert "seconds" not in json.dumps(run)
    assert run["reports"][0]["rows"][0]["troth"]["p50"] == 0.3
    assert run["reports"][0]["rows"][0]["floor"]["max"] == 0.1235


def test_fleets_of_several_runs_are_one_picture(tmp_path: Path) -> None:
    for name, results in (("old", growth(250, 500)), ("new", growth(250, 1000))):
        (tmp_path / name).write_text(json.dumps(results))
    files = [str(tmp_path / name) for name in ("old", "new")]
    command.main([*files, str(tmp_path / "pictures")])
    shown = (tmp_path / "pictures" / "growth-memory.svg").read_text()
    assert "25 at 250, 50 at 500, 100 at 1,000" in shown
    written = json.loads((tmp_path / "pictures" / "results.json").read_text())
    assert [run["benchmark"] for run in written["runs"]] == ["growth"]


def test_last_report_of_a_title_counts() -> None:
    first, last = growth(250), growth(250)
    last["runs"][0]["reports"][0]["figures"][0]["value"] = 7
    (run,) = merged([*first["runs"], *last["runs"]])["runs"]
    assert [each["figures"][0]["value"] for each in run["reports"]] == [7]


def test_short_runs_are_not_shown() -> None:
    full, short = growth(250, 500), growth(250, 500)
    short["runs"][0]["short"] = True
    assert merged([*full["runs"], *short["runs"]]) == merged(full["runs"])
    assert merged(short["runs"]) == {"runs": []}


def test_each_report_names_the_machine_and_load_that_it_was_measured_with() -> None:
    first, last = growth(250), growth(500)
    last["runs"][0]["machine"] |= {"load": 7.0}
    (run,) = merged([*first["runs"], *last["runs"]])["runs"]
    assert [each["machine"]["load"] for each in run["reports"]] == [0.1, 7.0]
    assert merged(merged([*first["runs"], *last["runs"]])["runs"])["runs"] == [run]


def test_new_results_replace_those_of_their_benchmarks_alone(tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    page = tmp_path / "pictures.md"
    mark = "<!-- picture: growth-memory.svg -->"
    page.write_text(f"# Growth\n\n{mark}\n\n<!-- picture: server-cost.svg -->\n\nText\n")
    cost = Report("Cost", figures=[Figure("4 edges: Secret", 2.0, "ms")])
    for results in (content("server-cost", cost), growth(250, 500), growth(500, 1000)):
        (tmp_path / "results").write_text(json.dumps(results))
        command.main([str(tmp_path / "results"), str(pictures)])
    assert {file.name for file in pictures.glob("*.svg")} == {
        "growth-memory.svg",
        "server-cost.svg",
    }
    assert "50 at 500, 100 at 1,000." in (pictures / "growth-memory.svg").read_text()
    assert page.read_text() == (
        f"# Growth\n\n{mark}\n![Memory of the operator](pictures/growth-memory.svg)\n\n"
        "<!-- picture: server-cost.svg -->\n![Processor time of API server and etcd for an "
        "identity with 4 edges](pictures/server-cost.svg)\n\nText\n"
    )


def test_picture_without_figures_is_removed(tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    page = tmp_path / "pictures.md"
    page.write_text("<!-- picture: growth-memory.svg -->\n<!-- picture: server-cost.svg -->\n")
    both = content("server-cost", Report("Cost", figures=[Figure("4 edges: Secret", 2.0, "ms")]))
    both["runs"] += growth(250, 500)["runs"]
    for results in (both, growth(250)):
        (tmp_path / "results").write_text(json.dumps(results))
        command.main([str(tmp_path / "results"), str(pictures)])
    assert [file.name for file in pictures.glob("*.svg")] == ["server-cost.svg"]
    assert "growth-memory.svg)" not in page.read_text()


def test_results_without_a_picture_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "results").write_text(json.dumps(content("edge")))
    with pytest.raises(SystemExit) as ended:
        command.main([str(tmp_path / "results"), str(tmp_path / "pictures")])
    assert "no figure" in str(ended.value.code)
    assert not (tmp_path / "pictures").exists()


def test_each_picture_has_a_file_of_its_own() -> None:
    files = [each.file for each in PICTURES]
    assert len(set(files)) == len(files)


def test_benchmark_results_name_no_host_and_no_path() -> None:
    assert set(Machine.here().content()) == {
        *("processor", "cores", "memory", "system", "python", "load")
    }


def test_committed_pictures_show_the_committed_results() -> None:
    results = json.loads((PERFORMANCE / command.SUMMARY).read_text())
    shown = {file.name: file.read_text() for file in PERFORMANCE.glob("*.svg")}
    assert draw(results) == shown
    assert summary(results) == results


def test_page_has_a_place_for_each_picture() -> None:
    page = PERFORMANCE.with_suffix(".md").read_text()
    assert sorted(re.findall(r"^<!-- picture: (\S+) -->$", page, re.MULTILINE)) == sorted(
        each.file for each in PICTURES
    )


@pytest.mark.parametrize(
    ("row", "aim"),
    [
        ("1,000 new identities with 4,000 edges", f"{convergence.RATE}"),
        ("4,000 new identities with 16,000 edges", f"{convergence.RATE}"),
        ("4,000 compared with 1,000", f"{convergence.GROWTH}"),
        (
            "a restart with 2,000 identities, until ready",
            f"{restart.TIMES_THE_LISTS} lists + {restart.ALLOWANCE} s",
        ),
        ("memory at rest: 1,000, 4,000 identities", f"{memory.AIMS[1000]} MB at 1,000"),
        (
            "memory at rest before 2026-11-29: 1,000, 4,000, 10,000 identities",
            f"{memory.AIMS[10_000]} MB at 10,000",
        ),
        ("tokens a second on one core", f"{issuer.RATE}"),
        ("deliveries a second on one core, store in memory", f"{gateway.RATES[Side.MEMORY]}"),
        ("the same, with Valkey, `appendfsync everysec`", f"{gateway.RATES[Side.EVERYSEC]}"),
        ("`single`", f"p50 {single.MEDIAN_MS:.0f} ms, p99 {single.SLOWEST_MS:.0f} ms"),
        ("`server-cost`", f"{server_cost.AIM:.0f} ms for an identity with 4 edges"),
        ("`shards`", f"{1 / shards.AIM:.1f} times the rate of one"),
    ],
    ids=lambda text: text.strip("`").split(",")[0],
)
def test_aims_on_the_page_are_those_of_the_benchmarks(row: str, aim: str) -> None:
    page = PERFORMANCE.with_suffix(".md").read_text()
    rows = [re.split(r"\s*\|\s*", line.strip("| ")) for line in page.splitlines()]
    (found,) = (each for each in rows if each[0] == row)
    assert any(cell.startswith(aim) for cell in found[1:])


def test_every_committed_picture_is_on_the_page() -> None:
    page = (PERFORMANCE.parent / "performance.md").read_text()
    assert set(re.findall(r"\(performance/([a-z-]+\.svg)\)", page)) == {
        file.name for file in PERFORMANCE.glob("*.svg")
    }
