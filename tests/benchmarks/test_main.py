"""`python -m benchmarks` runs what is asked for, says what it misses, and loses no result."""

import inspect
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

import pytest

from benchmarks import __main__ as command
from benchmarks import registry
from benchmarks.harness.report import Comparison, Figure, Report
from benchmarks.registry import BENCHMARKS, Benchmark

PLACE = "made"


def missing() -> Iterator[Report]:
    yield Report("Sizes", figures=[Figure("memory", 130, "MB", aim=120), Figure("pages", 3, aim=3)])


def sized(sizes: Sequence[int] = (1000,)) -> Iterator[Report]:
    rows = [Comparison(f"a fleet of {size}", [0.2], [0.1], aim=1.5) for size in sizes]
    yield Report("Times", rows)


def failing() -> Iterator[Report]:
    yield from missing()
    raise TimeoutError("the broker does not answer")


@pytest.fixture(autouse=True)
def made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register three benchmarks that measure nothing, instead of all others."""
    module = ModuleType(f"benchmarks.{PLACE}")
    for function in (missing, sized, failing):
        setattr(module, function.__name__, function)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    registered = (
        Benchmark("missing", "sizes", f"{PLACE}:missing"),
        Benchmark("sized", "times", f"{PLACE}:sized", {"sizes": (10,)}),
        Benchmark("failing", "a broker", f"{PLACE}:failing"),
    )
    monkeypatch.setattr(command, "BENCHMARKS", registered)


def test_short_runs_only_benchmarks_that_have_a_short_form(
    capsys: pytest.CaptureFixture[str],
) -> None:
    command.main(["--short"])
    out, err = capsys.readouterr()
    assert "a fleet of 10 " in out
    assert "[1/1] sized: times ..." in err


def test_named_benchmarks_run_in_full_size(capsys: pytest.CaptureFixture[str]) -> None:
    command.main(["sized"])
    assert "a fleet of 1000 " in capsys.readouterr().out


def test_sizes_can_be_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    command.main(["sized", "--sizes", "20,30"])
    out = capsys.readouterr().out
    assert "a fleet of 20 " in out
    assert "a fleet of 30 " in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing", "--sizes", "20"], "benchmarks that have sizes: sized"),
        (["--sizes", "20"], "benchmarks that have sizes: sized"),
        (["sized", "missing", "--short"], "have a short form: sized"),
        (["sized", "--sizes", "20,-1"], "write numbers above 0"),
        (["sized", "--sizes", "many"], "many: write numbers above 0"),
    ],
)
def test_sizes_and_short_forms_that_a_benchmark_lacks_are_rejected(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        command.main(arguments)
    assert message in capsys.readouterr().err


def test_conclusion_names_each_missed_aim(capsys: pytest.CaptureFixture[str]) -> None:
    command.main(["missing", "sized"])
    lines = capsys.readouterr().out.splitlines()
    start = lines.index("Aims: 1 kept, 2 missed.")
    assert lines[start + 1 : start + 3] == [
        "  missed: missing: memory",
        "  missed: sized: a fleet of 1000",
    ]


def test_failure_keeps_earlier_reports_and_later_benchmarks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "results.json"
    with pytest.raises(SystemExit) as ended:
        command.main(["failing", "sized", "--json", str(file)])
    assert ended.value.code == 1
    runs = json.loads(file.read_text())["runs"]
    assert [run["benchmark"] for run in runs] == ["failing", "sized"]
    assert [len(run["reports"]) for run in runs] == [1, 1]
    assert runs[0]["failure"] == "TimeoutError: the broker does not answer"
    assert "  failed: failing: TimeoutError: the broker" in capsys.readouterr().out


def test_results_of_an_interrupted_run_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted() -> Iterator[Report]:
        yield from ()
        raise KeyboardInterrupt

    monkeypatch.setattr(sys.modules[f"benchmarks.{PLACE}"], "failing", interrupted)
    file = tmp_path / "results.json"
    with pytest.raises(KeyboardInterrupt):
        command.main(["sized", "failing", "--json", str(file)])
    (run,) = json.loads(file.read_text())["runs"]
    (report,) = run["reports"]
    assert report["rows"][0]["troth"]["seconds"] == [0.2]


def test_file_that_cannot_be_written_is_rejected_before_anything_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        command.main(["sized", "--json", str(tmp_path / "absent" / "results.json")])
    out, err = capsys.readouterr()
    assert "results.json cannot be written" in err
    assert "fleet" not in out


def test_unknown_name_is_rejected(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["unknown"])
    assert "there is no benchmark 'unknown'" in capsys.readouterr().err


@pytest.mark.parametrize(("load", "warned"), [(0.4, False), (7.0, True)])
def test_load_of_the_machine_is_reported(
    load: float, warned: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("os.getloadavg", lambda: (load, 0.0, 0.0))
    command.main(["sized"])
    err = capsys.readouterr().err
    assert f"load {load}" in err
    assert ("Other processes use its cores" in err) is warned


def test_help_lists_every_benchmark(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["--help"])
    shown = capsys.readouterr().out
    assert "sized               * times" in shown
    assert "missing               sizes" in shown


@pytest.mark.parametrize("benchmark", BENCHMARKS, ids=lambda each: each.name)
def test_each_registered_benchmark_takes_its_short_arguments(benchmark: Benchmark) -> None:
    inspect.signature(benchmark.function()).bind(**(benchmark.short or {}))


def test_names_are_unique() -> None:
    names = [each.name for each in registry.BENCHMARKS]
    assert len(set(names)) == len(names)
