"""Changes of a broker's rules, with foreign rules present and operators that crash at any step."""

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.strategies import more
from troth.planning.grants.changes import NOTHING, Brake, Changes, Rules, Wanted, broker_changes
from troth.trust.grants import Rule

PREFIX = "troth-"
OURS = [Rule(f"{PREFIX}{name}", "TOPIC", "LITERAL", "orders", "WRITE") for name in "abcde"]
THEIRS = [Rule(name, "TOPIC", "LITERAL", "orders", "WRITE") for name in ("kafka-ui", "legacy")]
UNTOUCHED = Brake(most=100)

ours = st.sampled_from(OURS)
some_of_ours = st.frozensets(ours)
everything = st.sampled_from([*OURS, *THEIRS])
ledgers = st.one_of(st.none(), st.frozensets(ours))


def changes(
    wanted: Rules,
    observed: Rules,
    ledger: Rules | None,
    brake: Brake = UNTOUCHED,
    suspended: Rules = NOTHING,
) -> Changes:
    return broker_changes(
        Wanted(wanted, suspended), observed, ledger, principal_prefix=PREFIX, brake=brake
    )


def rules(*numbers: int) -> Rules:
    return frozenset(OURS[number] for number in numbers)


def test_first_changes_add_wanted_rules_and_record_them_first() -> None:
    found = changes(rules(0, 1), frozenset(THEIRS), NOTHING)
    assert (found.additions, found.removals) == (rules(0, 1), NOTHING)
    assert found.ledger == found.ledger_after == rules(0, 1)
    assert (found.foreign, found.orphaned) == (frozenset(THEIRS), NOTHING)
    assert not found.in_sync


def test_unwanted_rule_is_removed_and_stays_in_the_ledger_until_then() -> None:
    found = changes(rules(0), rules(0, 1), rules(0, 1))
    assert (found.removals, found.ledger, found.ledger_after) == (rules(1), rules(0, 1), rules(0))


def test_rule_that_somebody_removed_is_restored_and_reported() -> None:
    found = changes(rules(0, 1), rules(0), rules(0, 1))
    assert found.additions == found.missing == rules(1)


def test_only_existing_rules_that_are_wanted_are_adopted() -> None:
    found = changes(rules(0), rules(0, 1), NOTHING)
    assert (found.additions, found.removals) == (NOTHING, NOTHING)
    assert (found.ledger, found.orphaned) == (rules(0), rules(1))


def test_nothing_is_removed_without_a_ledger() -> None:
    found = changes(rules(0), rules(0, 1, 2), None)
    assert (found.removals, found.orphaned, found.ledger) == (NOTHING, rules(1, 2), rules(0))


def test_suspended_rule_is_neither_removed_nor_added() -> None:
    found = changes(NOTHING, rules(0), rules(0, 1), suspended=rules(0, 1, 2))
    assert found.in_sync
    assert found.ledger_after == rules(0, 1)


def test_unanswered_write_is_removed_although_not_observed() -> None:
    found = changes(NOTHING, NOTHING, rules(0))
    assert (found.removals, found.ledger, found.ledger_after) == (rules(0), rules(0), NOTHING)


def test_removals_above_the_brake_limit_wait_for_a_release() -> None:
    observed, ledger = rules(0, 1, 2), rules(0, 1, 2, 3)
    found = changes(rules(4), observed, ledger, Brake(most=2))
    assert found.additions == rules(4), "nobody waits for a grant because another is taken away"
    assert (found.braked, found.removals) == (rules(0, 1, 2), rules(3))
    assert not found.in_sync
    assert found.ledger_after == rules(0, 1, 2, 4)
    released = changes(rules(4), observed, ledger, Brake(most=2, released=True))
    assert (released.braked, released.removals) == (NOTHING, ledger)
    assert changes(rules(4), observed, ledger, Brake(most=3)).removals == ledger


@given(some_of_ours, st.frozensets(everything), ledgers, some_of_ours, st.integers(0, 3))
def test_no_wanted_suspended_or_unknown_rule_is_removed(
    wanted: Rules, observed: Rules, ledger: Rules | None, suspended: Rules, most: int
) -> None:
    found = changes(wanted, observed, ledger, Brake(most), suspended)
    assert found.removals <= (ledger or NOTHING) - wanted - suspended
    assert found.additions == wanted - observed
    assert len(found.removals & observed) <= most
    assert found.additions | found.removals <= found.ledger
    assert found.foreign | found.orphaned <= observed - found.ledger


@dataclass
class Broker:
    """Rules of a broker; `strangers` are the foreign ones."""

    rules: set[Rule] = field(default_factory=set)
    strangers: set[Rule] = field(default_factory=set)
    late: set[Rule] = field(default_factory=set)
    """Rules that were sent but neither answered nor observed yet."""


class Ledger(RuleBasedStateMachine):
    """State machine: an operator that may be interrupted at any write, and foreign writers."""

    def __init__(self) -> None:
        super().__init__()
        self.broker = Broker()
        self.ledger: Rules | None = NOTHING
        self.wanted: Rules = NOTHING
        self.lost = False

    @rule(wanted=some_of_ours)
    def declare(self, wanted: Rules) -> None:
        self.wanted = wanted

    @rule(theirs=everything)
    def somebody_adds(self, theirs: Rule) -> None:
        if theirs not in self.broker.rules:
            self.broker.rules.add(theirs)
            if theirs not in (self.ledger or NOTHING):
                self.broker.strangers.add(theirs)

    @rule(one=everything)
    def somebody_removes(self, one: Rule) -> None:
        self.broker.rules.discard(one)
        self.broker.strangers.discard(one)

    @rule()
    def what_was_late_comes_to_light(self) -> None:
        self.broker.rules |= self.broker.late
        self.broker.late.clear()

    @precondition(lambda self: not self.lost)
    @rule()
    def lose_the_ledger(self) -> None:
        self.ledger, self.lost = None, True

    @rule(dies_after=st.integers(0, 6), unanswered=st.booleans())
    def work(self, dies_after: int, unanswered: bool) -> None:
        """Carry out a plan in its order, possibly not to its end."""
        found = changes(self.wanted, frozenset(self.broker.rules), self.ledger)
        assert self.broker.strangers.isdisjoint(found.removals)
        self.broker.strangers -= self.wanted  # adopted
        self.ledger = found.ledger
        todo = [*sorted(found.additions), *sorted(found.removals)]
        for each in todo[:dies_after]:
            if each in found.removals:
                self.broker.rules.discard(each)
                self.broker.late.discard(each)
            elif unanswered:
                self.broker.late.add(each)
            else:
                self.broker.rules.add(each)
        if dies_after >= len(todo) and not (unanswered and found.additions):
            self.ledger = found.ledger_after

    @invariant()
    def everything_of_ours_is_in_the_ledger(self) -> None:
        if not self.lost:
            made = (self.broker.rules | self.broker.late) - self.broker.strangers - set(THEIRS)
            assert made <= (self.ledger or NOTHING)

    def teardown(self) -> None:
        """Check that an undisturbed broker settles with the wanted and the foreign rules."""
        if self.lost:
            return
        for _ in range(3):
            self.work(dies_after=100, unanswered=False)
            self.what_was_late_comes_to_light()
        assert self.broker.rules - set(THEIRS) == self.wanted | self.broker.strangers - set(THEIRS)


TestLedger = Ledger.TestCase
TestLedger.settings = settings(more(2), stateful_step_count=25)
