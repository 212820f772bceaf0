"""`troth probe`: its order, its repetitions and its output."""

import json

import pytest

from tests.cli.running import troth
from troth.cli.probe.command import PAUSE, make
from troth.documents.probes import VARIABLE, Instruction, Instructions, Outcome, Seen

CONNECT = Instruction("127.0.0.1", 1)
MUST_FAIL = Instruction("127.0.0.1", 1, passes=False)
CREDENTIALS = Instruction("127.0.0.1", 1, request=True, passes=False)


class Attempts:
    """What successive attempts see, and a clock that only pauses move."""

    def __init__(self, *outcomes: Outcome) -> None:
        self.left = list(outcomes)
        self.now = 0.0

    def __call__(self, _: Instruction) -> Seen:
        return Seen(self.left.pop(0) if len(self.left) > 1 else self.left[0])

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def make(self, *probes: Instruction, patience: int = 10) -> list[Outcome]:
        asked = Instructions("n", probes, patience=patience)
        return [each.outcome for each in make(asked, self, lambda: self.now, self.sleep)]


def test_edge_that_opens_late_passes() -> None:
    assert Attempts(Outcome.TIMEOUT, Outcome.REJECTED, Outcome.CONNECTED).make(CONNECT) == [
        Outcome.CONNECTED
    ]


def test_pair_that_closes_late_fails() -> None:
    attempts = Attempts(Outcome.CONNECTED, Outcome.CONNECTED, Outcome.TIMEOUT)
    assert attempts.make(MUST_FAIL) == [Outcome.TIMEOUT]


def test_pair_that_stays_open_is_reported_as_open() -> None:
    attempts = Attempts(Outcome.CONNECTED)
    assert attempts.make(MUST_FAIL) == [Outcome.CONNECTED]
    assert attempts.now == 10


def test_patience_is_for_the_pod_and_not_for_each_probe() -> None:
    attempts = Attempts(Outcome.TIMEOUT)
    assert attempts.make(*[CONNECT] * 5, patience=1) == [Outcome.TIMEOUT] * 5
    assert attempts.now == 2 * PAUSE


def test_probe_with_credentials_is_made_once() -> None:
    attempts = Attempts(Outcome.ANSWERED, Outcome.ALERT)
    assert attempts.make(CREDENTIALS) == [Outcome.ANSWERED]


def test_token_that_comes_late_is_waited_for() -> None:
    attempts = Attempts(Outcome.NO_TOKEN, Outcome.ANSWERED)
    assert attempts.make(CREDENTIALS) == [Outcome.ANSWERED]


def test_missing_files_are_not_waited_for() -> None:
    attempts = Attempts(Outcome.FAILED)
    assert attempts.make(CONNECT) == [Outcome.FAILED]
    assert attempts.now == 0


def test_command_prints_one_line_of_json(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Instructions("n", (Instruction("127.0.0.1", 1, passes=False),), timeout=1, patience=0)
    monkeypatch.setenv(VARIABLE, asked.text)
    ended = troth("probe")
    assert ended.code == 0, ended.errors
    (line,) = ended.lines
    assert json.loads(line)["seen"] == [["Reset", 0, ""]]


def test_command_without_instructions_says_who_sets_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    ended = troth("probe")
    assert ended.code == 2
    assert "`troth prove` sets it" in ended.errors
