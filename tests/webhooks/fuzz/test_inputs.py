"""Any bytes give a result or the parser's own error.

Short here; `HYPOTHESIS_PROFILE=thorough` tries far more, and `python -m tests.webhooks.fuzz` goes
on for as long as it is let.
"""

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzzing import bent
from tests.strategies import more
from tests.webhooks.fuzz.inputs import NAMES
from tests.webhooks.fuzz.targets import TARGETS, seeds

ROOT = Path(__file__).parents[3]
_MANY = more(4)

every = pytest.mark.parametrize("target", TARGETS)


@every
@given(st.data())
@settings(_MANY)
def test_mutated_input_is_rejected_or_read(target: str, data: st.DataObject) -> None:
    good = data.draw(st.sampled_from(seeds(target)))
    TARGETS[target](data.draw(bent(good)))


@every
@given(st.binary(max_size=200))
def test_any_bytes_are_rejected_or_read(target: str, data: bytes) -> None:
    TARGETS[target](data)


@every
def test_valid_input_is_read(target: str) -> None:
    assert len(seeds(target)) >= 1
    for good in seeds(target):
        TARGETS[target](good)


def with_leaf(old: bytes, new: bytes) -> bytes:
    """A sender's certificate, changed in one place."""
    (leaf,) = seeds("client-certificate")[1:]
    assert old in leaf
    return leaf.replace(old, new)


AUTHORITY_KEY, SUBJECT_KEY = b"\x55\x1d\x23", b"\x55\x1d\x0e"


@pytest.mark.parametrize(
    ("target", "found"),
    [
        ("client-certificate", lambda: with_leaf(AUTHORITY_KEY, SUBJECT_KEY)),
        ("client-certificate", lambda: with_leaf(b"\x0c\x08a sender", b"\x03\x08a sender")),
        ("replies", lambda: b":\r\n"),
        ("replies", lambda: b"*1\r\n" * 2000),
        ("public", lambda: ip_address("64:ff9b:1::a00:1").packed),
        ("public", lambda: ip_address("::10.0.0.1").packed),
    ],
    ids=[
        *("an extension twice", "a name in bits", "a number without digits"),
        *("answers within answers", "another NAT64", "an address in another"),
    ],
)
def test_past_findings_do_not_recur(target: str, found: Callable[[], bytes]) -> None:
    TARGETS[target](found())


@pytest.mark.parametrize("number", range(len(NAMES)), ids=NAMES)
@given(st.data())
def test_accepted_delivery_is_what_was_signed(number: int, data: st.DataObject) -> None:
    """`verify` itself compares; here each scheme has its share of the tries."""
    TARGETS["verify"](data.draw(bent(seeds("verify")[number])))


@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris is not installed")
def test_coverage_guided_fuzzer_finds_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.webhooks.fuzz", "all", "-runs=4000", "-seed=1"]
    command += ["-max_len=4096", f"-artifact_prefix={tmp_path}/"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-4000:]
    assert "Done 4000" in run.stderr
