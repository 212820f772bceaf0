"""Programs are built once, by one process, and an error names the cause."""

import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sandbox import BuildError, SandboxError
from sandbox.building import GoProgram, build
from sandbox.processes import Tether
from sandbox.running import run


@pytest.fixture
def greeter(tmp_path: Path) -> GoProgram:
    module = tmp_path / "greeter"
    module.mkdir()
    (module / "go.mod").write_text("module example.test/greeter\n\ngo 1.26.0\n")
    (module / "main.go").write_text('package main\n\nfunc main() { println("hello") }\n')
    return GoProgram(name="greeter", module=module, package=".")


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return the list of the build commands that are run."""
    seen: list[Any] = []

    def recorded(tether: Tether, argv: Any, **options: Any) -> None:
        seen.append(argv)
        run(tether, argv, **options)

    monkeypatch.setattr("sandbox.building.run", recorded)
    return seen


@pytest.mark.usefixtures("cache")
def test_program_is_built_once_for_two_concurrent_requests(
    greeter: GoProgram, commands: list[Any]
) -> None:
    with ThreadPoolExecutor() as threads:
        first, second = threads.map(build, [greeter, greeter])
    assert first == second == build(greeter)
    assert len(commands) == 1
    assert subprocess.run([first], check=True, capture_output=True).stderr == b"hello\n"


@pytest.mark.usefixtures("cache")
def test_broken_program_fails_with_the_compilers_message(greeter: GoProgram) -> None:
    (greeter.module / "main.go").write_text("package main\n\nfunc main() { missing() }\n")
    with pytest.raises(BuildError, match=r"greeter local could not be built") as failure:
        build(greeter)
    assert "main.go:3:15: undefined: missing" in str(failure.value)


@pytest.mark.usefixtures("cache")
def test_program_is_built_with_its_tags(greeter: GoProgram) -> None:
    more = '//go:build loud\n\npackage main\n\nfunc init() { println("HELLO") }\n'
    (greeter.module / "loud.go").write_text(more)
    loud = replace(greeter, tags="loud")
    said = [
        subprocess.run([build(each)], check=True, capture_output=True).stderr
        for each in (greeter, loud)
    ]
    assert said == [b"hello\n", b"HELLO\nhello\n"]


def test_failed_build_leaves_no_program(greeter: GoProgram, cache: Path) -> None:
    (greeter.module / "main.go").write_text("package main\n\nfunc main() {\n")
    with pytest.raises(BuildError):
        build(greeter)
    assert [path.name for path in (cache / "tools").iterdir() if path.is_dir()] == []


def test_changed_source_is_built_again(greeter: GoProgram) -> None:
    before = greeter.cached()
    (greeter.module / "go.sum").write_text("")
    between = greeter.cached()
    (greeter.module / "main.go").write_text("package main\n\nfunc main() {}\n")
    assert len({before, between, greeter.cached()}) == 3


def test_progress_is_printed_without_a_terminal(
    greeter: GoProgram, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build(greeter)
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "building greeter local ..."
    assert said[-1].startswith("building greeter local: done in ")


def test_missing_module_is_named(tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match=r"cannot be built: there is no .*go\.mod"):
        build(GoProgram(name="svid-judge", module=tmp_path, package="."))
