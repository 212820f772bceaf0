"""Every test file has a size, and every path of the table a file."""

import re

import pytest

from tests.gate import quarantine
from tests.gate.parts import OF_JAVA, PROGRAMS
from tests.gate.sizes import ROOT, SIZES, Size, files_below

SERVERS = re.compile(r"\b(kafka_server|own_kafka|sandbox): (KafkaServer|Sandbox)")
"""Parameters of tests that start a program of the sandbox."""
ENSURED = re.compile(r'ensure\("([a-z-]+)"\)')


def test_every_file_has_a_size() -> None:
    assert files_below().get(None, []) == []


@pytest.mark.parametrize("path", [each for paths in SIZES.values() for each in paths.split()])
def test_every_path_of_the_table_exists(path: str) -> None:
    assert (ROOT / "tests" / path).exists()


def test_no_path_has_two_sizes() -> None:
    paths = [each for found in SIZES.values() for each in found.split()]
    assert sorted(set(paths)) == sorted(paths)


def test_no_small_file_starts_a_server_of_the_sandbox() -> None:
    """Such a server runs, and takes its share of a core, until the worker ends."""
    assert [
        file
        for file in files_below()[Size.SMALL]
        if SERVERS.search((ROOT / "tests" / file).read_text())
    ] == []


def test_gate_builds_the_programs_that_its_tests_name() -> None:
    named = {
        program
        for file in files_below()[Size.MEDIUM]
        for program in ENSURED.findall((ROOT / "tests" / file).read_text())
    }
    assert named <= {*PROGRAMS, *OF_JAVA, "kubectl"}


def test_quarantine_is_valid_and_names_tests() -> None:
    for entry in quarantine.entries():
        file, _, test = entry.test.partition("::")
        assert f"def {test.partition('[')[0]}(" in (ROOT / file).read_text()
