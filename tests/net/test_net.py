"""After every move or rename, Troth's plans, documents and public text equal the record.

The record is in `recorded/`; `python -m tests.net --write` writes it after an intended change.
"""

import pytest

from tests.net import record
from tests.net.differences import differences
from tests.net.examples import EXAMPLES

REASONS = 180
"""Least number of types, reasons and states of conditions, edges and Events in the worlds."""

BUSY = pytest.mark.timeout(1200)
"""All worlds take about 20 s on one idle core, and longer on a busy one."""


@BUSY
def test_random_worlds_are_planned_as_recorded() -> None:
    worlds, _ = record.worlds_and_coverage()
    assert not (found := differences(record.WORLDS, worlds)), found


@BUSY
def test_random_worlds_have_every_step_and_most_reasons() -> None:
    _, coverage = record.worlds_and_coverage()
    assert set(coverage.steps) == record.ALL_STEPS
    assert len(coverage.reasons) >= REASONS
    assert not (found := differences(record.COVERAGE, record.coverage_text())), found


@pytest.mark.parametrize("name", [each.name for each in EXAMPLES])
def test_examples_are_planned_as_recorded(name: str) -> None:
    found = differences(record.example_file(name), record.example(name))
    assert not found, found


def test_shared_documents_are_written_as_recorded() -> None:
    assert not (found := differences(record.DOCUMENTS, record.documents())), found


def test_public_text_is_as_recorded() -> None:
    assert not (found := differences(record.TEXTS, record.public_texts())), found


def test_record_has_no_secret() -> None:
    for file in sorted(record.FOLDER.rglob("*.*")):
        text = file.read_text(encoding="utf-8")
        for told in ("PRIVATE KEY", "SEED", "whsec_", "password=", "BEGIN NATS"):
            shown = [line for line in text.splitlines() if told in line and "<" not in line]
            assert file.name == record.TEXTS or not shown, (file.name, shown[:3])
