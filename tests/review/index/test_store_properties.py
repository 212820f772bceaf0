"""The index behaves as a dict of letters does, whatever happens in whatever order."""

import tempfile
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.review.letters import NOON, POLICY, REVIEW, letter, settle
from troth.resources.reviews.dead_letter_review import Letters
from troth.review.index.store import LetterIndex
from troth.review.letters.letter import Letter, LetterState, Position

NUMBERS = st.integers(0, 12)
PARTITIONS = st.integers(0, 2)
OFFSETS = st.integers(0, 20)
REASONS = st.sampled_from(["Expired", "SchemaInvalid", "HandlerFailed"])
DECISIONS = st.sampled_from([LetterState.REDRIVEN, LetterState.DISCARDED, LetterState.QUARANTINED])
OPEN = {LetterState.PENDING, LetterState.QUARANTINED}
SETTLED = {LetterState.REDRIVEN, LetterState.DISCARDED}
UNTIL = NOON + timedelta(hours=1)


class IndexMachine(RuleBasedStateMachine):
    """Compares the index with two dicts: letters, and decisions that wait for theirs."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.index = LetterIndex(Path(self.directory.name) / "letters.db")
        self.letters: dict[str, Letter] = {}
        self.waiting: dict[str, LetterState] = {}

    def teardown(self) -> None:
        self.index.close()
        self.directory.cleanup()

    def decide(self, identifier: str, state: LetterState) -> None:
        found = self.letters.get(identifier)
        before = found.state if found else self.waiting.get(identifier, LetterState.PENDING)
        if before in SETTLED or before is state is LetterState.QUARANTINED:
            return
        if found:
            self.letters[identifier] = replace(found, state=state, review=REVIEW)
        else:
            self.waiting[identifier] = state

    @rule(number=NUMBERS, partition=PARTITIONS, offset=OFFSETS, hours=st.integers(0, 5))
    def put(self, number: int, partition: int, offset: int, hours: int) -> None:
        reason = ("Expired", "SchemaInvalid", "HandlerFailed")[number % 3]
        time = NOON - timedelta(hours=hours)
        new = letter(number, position=Position(partition, offset), reason=reason, time=time)
        self.index.put([new])
        for other in [e for e in self.letters.values() if e.position == new.position]:
            if other.id != new.id:
                del self.letters[other.id]
        known = self.letters.get(new.id)
        if known is None:
            self.letters[new.id] = new
        else:
            back = known.state is LetterState.GONE
            state = LetterState.PENDING if back else known.state
            position = new.position if back else known.position
            self.letters[new.id] = replace(known, position=position, state=state)
        if new.id in self.waiting:
            self.decide(new.id, self.waiting.pop(new.id))

    @rule(number=NUMBERS, state=DECISIONS)
    def settle(self, number: int, state: LetterState) -> None:
        identifier = f"id-{number}"
        settle(self.index, identifier, state)
        self.decide(identifier, state)

    @rule(partition=PARTITIONS, first=OFFSETS)
    def expire(self, partition: int, first: int) -> None:
        self.index.mark_gone(POLICY, partition, first)
        for each in list(self.letters.values()):
            below = each.position.partition == partition and each.position.offset < first
            if below and each.state in OPEN:
                self.letters[each.id] = replace(each, state=LetterState.GONE)

    @rule()
    def forget(self) -> None:
        self.index.forget(POLICY)
        self.letters.clear()
        self.waiting.clear()

    @rule()
    def restart(self) -> None:
        self.index.close()
        self.index = LetterIndex(Path(self.directory.name) / "letters.db")

    @rule(
        reason=st.none() | REASONS,
        hours=st.none() | st.integers(0, 5),
        limit=st.integers(1, 15),
        after=st.none() | st.builds(Position, PARTITIONS, OFFSETS),
        quarantined=st.booleans(),
    )
    def select(
        self,
        reason: str | None,
        hours: int | None,
        limit: int,
        after: Position | None,
        quarantined: bool,
    ) -> None:
        since = None if hours is None else NOON - timedelta(hours=hours)
        wanted = Letters(reason=reason, since=since, limit=limit)
        found = self.index.select(POLICY, wanted, UNTIL, quarantined=quarantined, after=after)
        states = OPEN if quarantined else {LetterState.PENDING}
        expected = [
            each
            for each in sorted(self.letters.values(), key=lambda each: each.position)
            if each.state in states
            and (reason is None or each.reason == reason)
            and (since is None or each.time >= since)
            and (after is None or each.position > after)
        ]
        assert list(found) == expected[:limit]

    @invariant()
    def it_knows_the_same_letters(self) -> None:
        for number in range(13):
            identifier = f"id-{number}"
            assert self.index.get(POLICY, identifier) == self.letters.get(identifier)

    @invariant()
    def it_counts_the_same(self) -> None:
        pending = [e for e in self.letters.values() if e.state is LetterState.PENDING]
        counts = self.index.counts(POLICY)
        assert counts.pending == len(pending)
        assert {e.reason: e.count for e in counts.reasons} == Counter(e.reason for e in pending)
        assert counts.oldest == min((e.time for e in pending), default=None)
        tallies = {(e.state, e.reason): e.count for e in self.index.tallies()}
        assert tallies == Counter((str(e.state), e.reason) for e in self.letters.values())


TestIndex = pytest.mark.long(IndexMachine.TestCase)
