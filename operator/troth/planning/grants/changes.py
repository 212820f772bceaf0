"""Changes that are due at a broker, from the wanted rules, the observed rules and the ledger.

A broker also has rules that Troth did not create. The ledger records which rules are Troth's. Troth
writes the ledger before it changes the broker, so after a crash the ledger has too many rules and
never too few. A wanted rule that the broker already has is added to the ledger. Troth does not
remove a rule that the ledger does not have.

Principals that Troth created are an exception: only Troth may extend what they are allowed to do.
Troth removes each rule that allows such a principal more than is declared, even a foreign one. A
foreign rule that denies something stays.
"""

from collections.abc import Collection
from dataclasses import dataclass

from troth.trust.grants import Rule

Rules = frozenset[Rule]
NOTHING: Rules = frozenset()
ALLOW = "ALLOW"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Rules that are wanted at a broker.

    `rules` are the rules of live grants. `suspended` are those of grants of which it is unknown
    whether they are live. Troth keeps the ones that exist and adds none. `temporary` are those of
    grants that come and go with a review and of no others, so nobody removes them by accident.
    """

    rules: Rules
    suspended: Rules = NOTHING
    temporary: Rules = NOTHING


@dataclass(frozen=True, slots=True)
class Brake:
    """Limit of the rules that one plan may remove.

    `most` is the limit, and `released` is whether a person has allowed more. Rules of a deleted
    identity count too, because the limit protects against accidental deletion.
    """

    most: int
    released: bool = False

    def holds(self, removals: Collection[Rule]) -> bool:
        """Return whether these removals wait for a person."""
        return len(removals) > self.most and not self.released


@dataclass(frozen=True, slots=True)
class Changes:
    """Changes that are due after an observation of a broker.

    `ledger` is the content that the ledger must have before `additions` and `removals` are carried
    out, `ledger_after` its content afterwards. `missing` are the additions that the ledger had
    already: somebody removed them at the broker, or a crash prevented their creation. `braked` are
    removals that wait for a person. `intruding` are the removals of foreign rules that allow
    something to a principal of Troth's. `foreign` are the other foreign rules. `orphaned` are rules
    of principals with Troth's prefix that the ledger does not have. Troth does not change these
    either. `left` are the orphaned rules that the ledger must name, because without a ledger their
    origin cannot be determined.
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
        """Whether nothing is to be done, and nothing waits for a person."""
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
    """Return the changes that are due at a broker.

    `observed` are all rules of the broker. `ledger` are the rules that Troth created there, None if
    that is unknown. Then nothing is removed. The names of Troth's principals begin with
    `principal_prefix`, and `principals` are those that it created. `left` are the rules that
    existed when the ledger was created.
    """
    known = ledger if ledger is not None else NOTHING
    additions = wanted.rules - observed
    surplus = known - wanted.rules - wanted.suspended
    # remove unobserved rules too, because a write without a response may still take effect
    lasting = (surplus & observed) - wanted.temporary
    braked = lasting if brake.holds(lasting) else NOTHING
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
