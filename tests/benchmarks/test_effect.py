"""A bench that a machine cannot have says so, and the others go on."""

from pathlib import Path

import pytest

from benchmarks import effect


def test_a_kind_of_node_that_this_machine_cannot_have_is_left_out_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # where there is no program that a node needs
    reports = list(effect.reports())
    assert len(reports) == len(effect.TRIALS)
    for report in reports:
        assert not report.rows
        assert report.note.startswith("Not measured: a node needs ")
