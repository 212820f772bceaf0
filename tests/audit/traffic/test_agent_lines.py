"""What an agent prints is what a reader reads, and nothing else is."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from troth.audit.traffic import agent_lines
from troth.audit.traffic.agent_lines import (
    Summary,
    all_lines,
    pair_line,
    read_agent_lines,
    summary_line,
)
from troth.audit.traffic.conntrack import Connection
from troth.audit.traffic.pairs import Pair, Pairs, Sighting

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
SUMMARY = Summary("node-1", ("192.0.2.2", "fd00::2"), NOW, NOW + timedelta(minutes=5), 3, 1, "", 7)
PAIR = Pair("10.0.0.5", "10.0.0.7", 8443, "TCP")
SIGHTING = Sighting(7, NOW, NOW + timedelta(minutes=4))


def test_lines_are_read_as_they_were_written() -> None:
    pairs = Pairs()
    pairs.look([Connection(*PAIR, 40000)], NOW)
    log = read_agent_lines(all_lines(SUMMARY, pairs))
    assert log.summary == SUMMARY
    assert log.pairs == {PAIR: Sighting(1, NOW, NOW)}
    assert log.malformed == 0


def test_summary_of_an_older_agent_has_no_gap() -> None:
    members = json.loads(summary_line(SUMMARY))
    del members["gap"]
    assert read_agent_lines([json.dumps(members)]).summary == replace(SUMMARY, gap=0)


def test_later_line_about_a_pair_replaces_the_earlier_one() -> None:
    lines: list[str | bytes] = [
        pair_line(PAIR, Sighting(1, NOW, NOW)),
        pair_line(PAIR, SIGHTING).encode(),
    ]
    assert read_agent_lines(lines).pairs == {PAIR: SIGHTING}


def test_summary_with_many_addresses_is_read_with_the_first_of_them() -> None:
    addresses = tuple(f"10.96.{n // 250}.{n % 250}" for n in range(300))
    log = read_agent_lines([summary_line(replace(SUMMARY, addresses=addresses))])
    assert log.summary is not None
    assert log.summary.addresses == addresses[: agent_lines.MOST_ADDRESSES]


def changed(**members: object) -> str:
    return json.dumps(json.loads(pair_line(PAIR, SIGHTING)) | members)


@pytest.mark.parametrize(
    "line",
    [
        "hello",
        "[]",
        "{}",
        '{"type":"pair"}',
        "[" * 10_000,
        f"{pair_line(PAIR, SIGHTING)}{' ' * agent_lines.LONGEST_LINE}",
        changed(source="10.0.0.777"),
        changed(source=1),
        changed(port=65536),
        changed(port=True),
        changed(protocol="ICMP"),
        changed(connections=0),
        changed(connections=-1),
        changed(first="2026-11-28T12:00:00"),
        changed(first="2026-11-28T13:00:00Z"),
        summary_line(SUMMARY).replace("node-1", "node-\\u001b[31m"),
        summary_line(SUMMARY).replace("node-1", "n" * 300),
        summary_line(SUMMARY).replace("192.0.2.2", "not an address"),
    ],
)
def test_line_that_is_not_an_agent_s_is_counted_and_not_used(line: str) -> None:
    log = read_agent_lines([line, "", pair_line(PAIR, SIGHTING)])
    assert log.malformed == 1
    assert (log.summary, log.pairs) == (None, {PAIR: SIGHTING})


def test_number_of_pairs_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_lines, "MOST_PAIRS", 1)
    other = PAIR._replace(port=9)
    log = read_agent_lines([pair_line(each, SIGHTING) for each in (PAIR, other, PAIR)])
    assert (list(log.pairs), log.malformed) == ([PAIR], 1)
