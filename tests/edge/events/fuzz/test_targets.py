"""No message opens except the sealed ones, and none causes an error.

Short here; `HYPOTHESIS_PROFILE=thorough` tries far more, and `python -m tests.edge.events.fuzz all`
goes on until it is ended.
"""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.edge.events.fuzz.targets import TARGETS, read, scene, seeds, write
from tests.fuzzing import bent
from tests.strategies import more
from troth.edge.events.event import Event
from troth.edge.events.message import Message

ROOT = Path(__file__).parents[4]

every = pytest.mark.parametrize("target", TARGETS)


@every
@given(st.data())
@settings(more(4))
def test_mutated_input_is_judged_without_an_error(target: str, data: st.DataObject) -> None:
    TARGETS[target](data.draw(bent(data.draw(st.sampled_from(seeds(target))))))


@pytest.mark.parametrize("target", ["kafka", "producer"])
@given(st.data())
@settings(more(4))
def test_message_with_other_headers_is_judged_without_an_error(
    target: str, data: st.DataObject
) -> None:
    headers, content = read(data.draw(st.sampled_from(seeds("kafka"))))
    others = [header for each in seeds("kafka") for header in read(each)[0]]
    values = st.sampled_from([value for _, value in others]) | st.binary(max_size=9) | st.none()
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(headers) - 1))
        name, value = data.draw(st.sampled_from(others))
        headers[place : place + data.draw(st.integers(0, 2))] = [
            (data.draw(st.sampled_from([name, headers[place][0]])), value),
            (headers[place][0], data.draw(values)),
        ][: data.draw(st.integers(0, 2))] or [("x", b"")]
    content = data.draw(st.sampled_from([content, b"{}", b"[" * 99, content + b" ", b""]))
    TARGETS[target](write(headers, content))


@every
@given(st.binary(max_size=200))
def test_any_bytes_are_judged_without_an_error(target: str, data: bytes) -> None:
    TARGETS[target](data)


@every
def test_seeds_are_valid_inputs(target: str) -> None:
    for good in seeds(target):
        TARGETS[target](good)


def test_each_sealed_event_opens_for_its_consumer() -> None:
    by_producer, by_token = scene().openers
    for each in scene().sealed:
        message = Message(each.topic, each.attributes, each.data)
        opener = by_token if "trothtxntoken" in each.attributes else by_producer
        assert isinstance(opener.open(message), Event)


@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris is not installed")
def test_coverage_guided_fuzzer_finds_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.edge.events.fuzz", "all", "-runs=4000", "-seed=1"]
    command += ["-max_len=8192", f"-artifact_prefix={tmp_path}/"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-4000:]
    assert "Done 4000" in run.stderr
