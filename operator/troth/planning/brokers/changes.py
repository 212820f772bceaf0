"""What is to be done at a broker: from what is wanted, what is there, and what Troth made of it.

A broker is nobody's alone. The ledger says which of its rules are Troth's: it is written before the
broker is, so that after a crash it has too much and never too little, and a rule that it does not
have is never removed. One that is there already, just as it is wanted, is taken into it.

Only of a principal that Troth made nobody else may widen what it can do: what allows it more than
is declared is removed, whoever made it. What denies it something stays.
"""

from collections.abc import Collection
from dataclasses import dataclass

from troth.trust.grants import Rule

Rules = frozenset[Rule]
NOTHING: Rules = frozenset()
ALLOW = "ALLOW"


@dataclass(frozen=True, slots=True)
class Wanted:
    """The rules of the live grants, and of those of which it cannot be told whether they are live:
    what is there of these stays, and none is added.
    """

    rules: Rules
    suspended: Rules = NOTHING


@dataclass(frozen=True, slots=True)
class Brake:
    """How many rules one plan may take away, and whether a person has let one pass that has more.

    Also those of an identity that is gone: what was deleted by mistake is what it is for.
    """

    most: int
    released: bool = False

    def holds(self, removals: Collection[Rule]) -> bool:
        """Say whether these removals wait for a person."""
        return len(removals) > self.most and not self.released


@dataclass(frozen=True, slots=True)
class Changes:
    """What one look at a broker came to.

    `ledger` is what it must say before `additions` and `removals` are carried out, and
    `ledger_after` what it may say once they are. Of the additions, `missing` were in it already:
    somebody took them away, or a crash kept them from being made. `braked` wait for a person.
    `intruding` are among the removals: what somebody else allowed a principal of Troth's. `foreign`
    are the rules of others; `orphaned` those of principals with Troth's prefix of which the ledger
    knows nothing, and they are left alone as well. `left` are those of them that the ledger must
    name, because without a ledger nobody could tell whose they are.
    """

    additions: Rules
    removals: Rules
    missing: Rules
    braked: Rules
    intruding: Rules
    foreign: Rules
    orphaned: Rules
    left: Rules
    ledger: Rules
    ledger_after: Rules

    @property
    def in_sync(self) -> bool:
        """Whether there is nothing to do, and nothing that should be done."""
        return not (self.additions or self.removals or self.braked)


def broker_changes(
    wanted: Wanted,
    observed: Rules,
    ledger: Rules | None,
    *,
    principal_prefix: str,
    principals: frozenset[str] = frozenset(),
    left: Rules = NOTHING,
    brake: Brake,
) -> Changes:
    """Return what is to be done at a broker.

    `observed` is every rule that it has, `ledger` what Troth made there, None where that is not
    known: then nothing is removed. The names of Troth's principals begin with `principal_prefix`,
    and `principals` are those that it made; `left` is what was there already when the ledger was
    begun.
    """
    known = ledger if ledger is not None else NOTHING
    additions = wanted.rules - observed
    surplus = known - wanted.rules - wanted.suspended
    # what is not seen is removed as well: a write that was not answered may come to light later
    braked = surplus & observed if brake.holds(surplus & observed) else NOTHING
    removals = surplus - braked
    strange = observed - known - wanted.rules - wanted.suspended
    intruding = frozenset(
        rule for rule in strange - left if rule.principal in principals and rule.effect == ALLOW
    )
    orphaned = frozenset(
        rule
        for rule in strange - intruding
        if rule.principal.startswith(principal_prefix)
        and (rule in left or rule.principal not in principals)
    )
    before = known | wanted.rules
    return Changes(
        additions=additions,
        removals=removals | intruding,
        missing=additions & known,
        braked=braked,
        intruding=intruding,
        foreign=strange - intruding - orphaned,
        left=orphaned if ledger is None else orphaned & left,
        orphaned=orphaned,
        ledger=before,
        ledger_after=before - removals,
    )
