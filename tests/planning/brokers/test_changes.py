"""A broker that others use too, an operator that dies anywhere, and what becomes of the rules."""

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.strategies import more
from troth.planning.brokers.changes import NOTHING, Brake, Changes, Rules, Wanted, broker_changes
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


def test_the_first_look_makes_what_is_wanted_and_writes_it_down_before() -> None:
    found = changes(rules(0, 1), frozenset(THEIRS), NOTHING)
    assert (found.additions, found.removals) == (rules(0, 1), NOTHING)
    assert found.ledger == found.ledger_after == rules(0, 1)
    assert (found.foreign, found.orphaned) == (frozenset(THEIRS), NOTHING)
    assert not found.in_sync


def test_what_is_not_wanted_any_more_goes_and_stays_in_the_ledger_until_it_is_gone() -> None:
    found = changes(rules(0), rules(0, 1), rules(0, 1))
    assert (found.removals, found.ledger, found.ledger_after) == (rules(1), rules(0, 1), rules(0))


def test_what_somebody_took_away_is_made_again_and_told() -> None:
    found = changes(rules(0, 1), rules(0), rules(0, 1))
    assert found.additions == found.missing == rules(1)


def test_what_is_there_just_as_wanted_is_adopted_and_nothing_else() -> None:
    found = changes(rules(0), rules(0, 1), NOTHING)
    assert (found.additions, found.removals) == (NOTHING, NOTHING)
    assert (found.ledger, found.orphaned) == (rules(0), rules(1))


def test_without_its_ledger_nothing_is_removed() -> None:
    found = changes(rules(0), rules(0, 1, 2), None)
    assert (found.removals, found.orphaned, found.ledger) == (NOTHING, rules(1, 2), rules(0))


def test_what_cannot_be_told_stays_and_is_not_made() -> None:
    found = changes(NOTHING, rules(0), rules(0, 1), suspended=rules(0, 1, 2))
    assert found.in_sync
    assert found.ledger_after == rules(0, 1)


def test_a_write_that_was_not_answered_is_taken_back_though_it_is_not_seen() -> None:
    found = changes(NOTHING, NOTHING, rules(0))
    assert (found.removals, found.ledger, found.ledger_after) == (rules(0), rules(0), NOTHING)


def test_more_removals_than_the_brake_lets_pass_wait_for_a_person() -> None:
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
def test_nothing_is_removed_that_is_wanted_suspended_or_unknown(
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
    """Rules, and how they came to be there: `strangers` are those that others made."""

    rules: set[Rule] = field(default_factory=set)
    strangers: set[Rule] = field(default_factory=set)
    late: set[Rule] = field(default_factory=set)
    """Rules that were sent, were not answered, and are not seen yet."""


class Ledger(RuleBasedStateMachine):
    """The order in which the operator writes, interrupted anywhere, beside other people."""

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
        """Carry a plan out in the order that is asked for; perhaps not to its end."""
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
        """Left alone it ends with what is wanted, and with what strangers made."""
        if self.lost:
            return
        for _ in range(3):
            self.work(dies_after=100, unanswered=False)
            self.what_was_late_comes_to_light()
        assert self.broker.rules - set(THEIRS) == self.wanted | self.broker.strangers - set(THEIRS)


TestLedger = Ledger.TestCase
TestLedger.settings = settings(more(2), stateful_step_count=25)
