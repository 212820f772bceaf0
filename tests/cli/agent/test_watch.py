"""A node agent prints new pairs at once, all pairs now and then, and what it cannot read."""

import gc
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.audit.traffic.test_conntrack import TCP, UDP
from tests.patience import PATIENCE
from troth.audit.traffic.agent_lines import read_agent_lines
from troth.audit.traffic.pairs import Pair
from troth.cli.agent.command import agent
from troth.cli.agent.watch import Tables, Watch
from troth.serving.garbage import YOUNG

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)
PAYMENTS = Pair("10.78.0.5", "10.78.0.7", 8443, "TCP")
STATSD = Pair("10.78.0.5", "10.78.0.9", 8125, "UDP")
TRIE = "Local:\n  |-- 192.0.2.2\n     /32 host LOCAL\n"


@dataclass
class Node:
    """Files of a node's kernel, a clock, and an agent that reads them."""

    folder: Path
    moment: datetime = NOON
    watch: Watch = field(init=False)

    def __post_init__(self) -> None:
        (self.folder / "fib_trie").write_text(TRIE)
        self.watch = Watch(
            Tables.below(self.folder), "node-1", lambda: self.moment, timedelta(minutes=5)
        )

    def look(self, *lines: str, later: int = 20) -> list[str]:
        (self.folder / "nf_conntrack").write_text("".join(f"{each}\n" for each in lines))
        self.moment += timedelta(seconds=later)
        return list(self.watch.look())


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def test_first_look_prints_everything_and_later_ones_only_new_pairs(node: Node) -> None:
    first = read_agent_lines(node.look(TCP))
    assert first.summary is not None
    assert (first.summary.node, first.summary.addresses) == ("node-1", ("192.0.2.2",))
    assert list(first.pairs) == [PAYMENTS]
    second = read_agent_lines(node.look(TCP, UDP))
    assert (second.summary, list(second.pairs)) == (None, [STATSD])
    assert node.look(TCP, UDP) == []


def test_all_pairs_are_printed_again_when_a_summary_is_due(node: Node) -> None:
    node.look(TCP)
    found = read_agent_lines(node.look(UDP, later=300))
    assert found.summary is not None
    assert set(found.pairs) == {PAYMENTS, STATSD}


def test_end_prints_everything(node: Node) -> None:
    node.look(TCP)
    assert set(read_agent_lines(node.watch.last()).pairs) == {PAYMENTS}


def test_node_with_the_addresses_of_all_services_prints_its_own(node: Node) -> None:
    services = [f"10.{n // 250}.{n % 250}.1" for n in range(3000)]
    lines = "".join(f"  |-- {each}\n     /32 host LOCAL\n" for each in services)
    link = "  |-- 192.0.2.0\n     /24 link UNICAST\n"
    (node.folder / "fib_trie").write_text(f"{lines}{link}{TRIE}")
    found = read_agent_lines(node.look(TCP))
    assert found.summary is not None
    assert found.summary.addresses[0] == "192.0.2.2"
    assert found.malformed == 0


def test_longest_gap_between_two_looks_is_reported(node: Node) -> None:
    node.look(TCP, later=0)
    node.look(TCP, later=5)
    node.look(TCP, later=12)
    node.look(TCP, later=5)
    found = read_agent_lines(node.watch.last())
    assert found.summary is not None
    assert found.summary.gap == 12


def test_time_in_which_the_table_could_not_be_read_is_a_gap(node: Node) -> None:
    node.look(TCP)
    (node.folder / "nf_conntrack").unlink()
    node.moment += timedelta(seconds=20)
    assert list(node.watch.look())
    found = read_agent_lines(node.look(TCP))
    assert found.summary is not None
    assert (found.summary.gap, found.summary.problem) == (40, "")


def test_malformed_lines_are_counted(node: Node) -> None:
    found = read_agent_lines(node.look("nonsense", TCP, "\x1b[31m"))
    assert found.summary is not None
    assert found.summary.malformed == 2


def test_table_that_cannot_be_read_is_a_problem_until_it_can(node: Node, tmp_path: Path) -> None:
    node.look(TCP)
    (tmp_path / "nf_conntrack").unlink()
    broken = read_agent_lines(node.watch.look())
    assert broken.summary is not None
    assert "cannot read the table of connections" in broken.summary.problem
    assert list(node.watch.look()) == []
    mended = read_agent_lines(node.look(TCP))
    assert mended.summary is not None
    assert mended.summary.problem == ""
    assert list(mended.pairs) == [PAYMENTS]


def test_command_ends_with_a_list_of_everything(node: Node, tmp_path: Path) -> None:
    (tmp_path / "nf_conntrack").write_text(f"{TCP}\n")
    command = [sys.executable, "-m", "troth.cli", "agent", "--tables", str(tmp_path)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=os.environ | {"NODE_NAME": "node-7"}
    )
    assert process.stdout is not None
    lines = [process.stdout.readline(), process.stdout.readline()]
    assert list(read_agent_lines(lines).pairs) == [PAYMENTS]
    process.terminate()
    rest, _ = process.communicate(timeout=PATIENCE)
    found = read_agent_lines(rest.splitlines())
    assert process.returncode == 0
    assert found.summary is not None
    assert (found.summary.node, list(found.pairs)) == ("node-7", [PAYMENTS])


def test_agent_collects_cycles_as_often_as_a_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    thresholds: list[int] = []
    monkeypatch.setattr(gc, "set_threshold", thresholds.append)
    monkeypatch.setattr(signal, "signal", lambda number, stop: stop(number, None))
    agent(tables=tmp_path, interval=1.0, summary_interval=1.0)
    assert thresholds == [YOUNG]
