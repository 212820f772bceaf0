"""What a change may add to a ledger that has no room for everything.

The less room there is, the less a change adds: first only for namespaces that stay within their
share of the ledger, then only next credentials of principals that the ledger has, then nothing.
Nothing leaves the ledger for lack of room, because Troth must revoke at the broker what it lists.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from troth.trust.grants import Place, Rule
from troth.trust.shares import level_of
from troth.world.facts.broker import Ledger
from troth.world.index.broker_keys import identity_of
from troth.world.observation.ledger import MOST, MOST_ROTATING, MOST_SHARED, fits, packed


@dataclass(frozen=True, slots=True)
class Growth:
    """What a change may add to a ledger, whose size may then be at most `most` bytes.

    `over` are the namespaces without new grants and first credentials, None if it is all of them.
    `rotates` is whether principals that the ledger has get their next credentials.
    """

    prefix: str
    most: int
    over: frozenset[str] | None = frozenset()
    rotates: bool = True

    @property
    def is_limited(self) -> bool:
        """Whether anything has to wait."""
        return self.over is None or bool(self.over)

    def unrecorded(self, wanted: frozenset[Rule], ledger: Ledger) -> frozenset[Rule]:
        """Return the wanted rules that wait."""
        if not self.is_limited:
            return frozenset()
        return frozenset(rule for rule in wanted - ledger.rules if not self._admits(rule.principal))

    def has_room(self, principal: str, *, recorded: bool) -> bool:
        """Return whether a principal may get a credential; `recorded`: the ledger has others."""
        return (self.rotates and recorded) or self._admits(principal)

    def fits(self, after: Ledger, before: Ledger | None) -> bool:
        """Return whether a change adds nothing to a ledger, or leaves it small enough."""
        known = before if before is not None else Ledger()
        new_rules = after.rules - known.rules or after.left - known.left
        grows = bool(new_rules or after.credentials.keys() - known.credentials.keys())
        return not grows or fits(after, self.most)

    def _admits(self, principal: str) -> bool:
        return self.over is not None and _namespace(self.prefix, principal) not in self.over


def growing(prefix: str) -> Growth:
    """Return that everything may be added, at a broker with this prefix of principals."""
    return Growth(prefix, MOST)


def less_growing(first: Growth, wanted: Ledger) -> Iterator[Growth]:
    """Yield what else to try if the ledger has no room for what is wanted; the last one fits."""
    yield replace(first, most=MOST_SHARED, over=frozenset(_above_share(first.prefix, wanted)))
    rotations = replace(first, most=MOST_ROTATING, over=None)
    yield rotations
    yield replace(rotations, rotates=False)


def _above_share(prefix: str, wanted: Ledger) -> Iterator[str]:
    """Yield the namespaces that want more of the ledger than there is for each."""
    sizes = {name: len(packed(part)) for name, part in _parts(prefix, wanted)}
    level = level_of(sizes.values(), MOST)
    return (name for name, size in sizes.items() if size > level)


def _parts(prefix: str, ledger: Ledger) -> Iterator[tuple[str, Ledger]]:
    """Yield the entries of each namespace."""
    rules, left = _by_namespace(prefix, ledger.rules), _by_namespace(prefix, ledger.left)
    credentials: dict[str, dict[Place, str]] = {}
    for place, fingerprint in ledger.credentials.items():
        credentials.setdefault(_namespace(prefix, place[0]), {})[place] = fingerprint
    for name in sorted(rules.keys() | left.keys() | credentials.keys()):
        yield (
            name,
            Ledger(
                frozenset(rules.get(name, ())),
                credentials=credentials.get(name, {}),
                left=frozenset(left.get(name, ())),
            ),
        )


def _by_namespace(prefix: str, rules: Iterable[Rule]) -> dict[str, list[Rule]]:
    found: dict[str, list[Rule]] = {}
    for rule in rules:
        found.setdefault(_namespace(prefix, rule.principal), []).append(rule)
    return found


def _namespace(prefix: str, principal: str) -> str:
    """Return the namespace of a principal's identity, "" if it is no identity's."""
    identity = identity_of(prefix, principal)
    return identity.namespace if identity is not None else ""
