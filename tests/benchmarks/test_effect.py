"""Benchmarks that a machine cannot run are skipped with the reason."""

from pathlib import Path

import pytest

from benchmarks.fleet import effect


def test_unsupported_tier_is_reported_as_not_measured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # has no program that a node needs
    reports = list(effect.reports())
    assert len(reports) == len(effect.TRIALS)
    for report in reports:
        assert not report.rows
        assert report.note.startswith("Not measured: a node needs ")
