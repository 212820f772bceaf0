"""A Java program is built from its one library if the machine has a JDK and Maven."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sandbox import BuildError, java
from sandbox.java import build_java, missing
from sandbox.processes import Tether
from sandbox.tools import JAVA_PROGRAMS
from tests.sandbox.observing import executable

JUDGE = JAVA_PROGRAMS["nimbus-judge"]


@pytest.mark.parametrize("lacking", java.TOOLS)
def test_missing_java_tool_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lacking: str
) -> None:
    for tool in set(java.TOOLS) - {lacking}:
        executable(tmp_path / tool)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert missing() == f"a Java program needs the program {lacking}, which is not on PATH"


def test_old_jdk_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda program: program)
    monkeypatch.setattr(java, "_version", lambda: 11)
    assert missing() == "a Java program needs a JDK of 17 or newer, and the one on PATH is 11"


@pytest.mark.usefixtures("cache")
def test_library_with_a_wrong_digest_is_rejected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fetched(tether: Tether, argv: list[Any], **_: Any) -> None:
        assert argv[0] == "mvn"
        library = JUDGE.library
        (tether.directory / f"{library.name}-{library.version}.jar").write_bytes(b"another")

    monkeypatch.setattr(java, "missing", lambda: None)
    monkeypatch.setattr(java, "run", fetched)
    with pytest.raises(BuildError, match="has the SHA-256 "):
        build_java(JUDGE)
    assert not JUDGE.cached().exists()


def test_another_library_makes_another_program() -> None:
    newer = replace(JUDGE, library=replace(JUDGE.library, version="10.11"))
    assert newer.cached() != JUDGE.cached()
