"""Collisions: two identities with the same ServiceAccount, or possibly with the same pods."""

from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

from troth.resources.identity.spec import ServiceIdentity
from troth.resources.references import Ref
from troth.trust.multimap import Multimap
from troth.trust.selectors import Demand, demands, includes

MOST_NAMED = 32
"""Collisions up to which an identity's message names another identity.

With more, the message names none, so it stays the same when one comes or goes. So a change costs
the plans of this many identities at most, however many share their pods.
"""


@dataclass(frozen=True, slots=True)
class SharedIdentity:
    """That other identities claim the same ServiceAccount or could select the same pods.

    `other` is one of them, None if they are too many to name one. `culprit` is which of the two has
    to change, None if it cannot be told.
    """

    message: str
    other: Ref | None = None
    culprit: Ref | None = None


class WorkloadClaims:
    """Index of the ServiceAccounts and pods that the identities of one namespace claim."""

    def __init__(self) -> None:
        self.identities: set[Ref] = set()
        self._pods = _Pods()
        self._with_account = Multimap[str, Ref]()
        self._sharing: dict[Ref, int] = {}
        """The number of others that could select the same pods."""
        self._crowded: set[Ref] = set()
        """Identities whose message is the same with one collision more or less."""

    def add(self, identity: ServiceIdentity) -> None:
        """Add the claims of an identity that has none."""
        others = self.with_same_pods(identity)
        self.identities.add(identity.ref)
        self._with_account.add(identity.spec.workload.service_account_name, identity.ref)
        self._pods.add(identity)
        self._count(identity.ref, len(others))
        for other in others:
            self._count(other, self._sharing[other] + 1)

    def remove(self, identity: ServiceIdentity) -> None:
        """Remove the claims of an identity."""
        self.identities.discard(identity.ref)
        self._with_account.discard(identity.spec.workload.service_account_name, identity.ref)
        self._pods.remove(identity)
        self._crowded.discard(identity.ref)
        del self._sharing[identity.ref]
        for other in self.with_same_pods(identity):
            self._count(other, self._sharing[other] - 1)

    def _count(self, ref: Ref, others: int) -> None:
        self._sharing[ref] = others
        if others > MOST_NAMED + 1:
            self._crowded.add(ref)
        else:
            self._crowded.discard(ref)

    def with_same_pods(self, identity: ServiceIdentity) -> set[Ref]:
        """Return the other identities that could select the same pods."""
        return self._pods.overlapping(identity) - {identity.ref}

    def with_same_account(self, identity: ServiceIdentity) -> set[Ref]:
        """Return the other identities with the same ServiceAccount."""
        account = identity.spec.workload.service_account_name
        return {*self._with_account.of(account)} - {identity.ref}

    def crowd(self, identity: ServiceIdentity) -> str:
        """Return what an identity shares with more than `MOST_NAMED` others; empty for nothing."""
        if self._sharing.get(identity.ref, 0) > MOST_NAMED:
            return "can select the same pods"
        account = identity.spec.workload.service_account_name
        crowded = len(self._with_account.of(account)) > MOST_NAMED + 1
        return f"use the ServiceAccount {account} too" if crowded else ""

    def affected_by(self, identity: ServiceIdentity) -> set[Ref]:
        """Return the others to which it makes a difference whether an identity is here."""
        account = self.with_same_account(identity)
        few = account if len(account) <= MOST_NAMED + 1 else set()
        return (self.with_same_pods(identity) - self._crowded) | few


class _Pods:
    """Index of pod selectors by their requirements on each label.

    Two selectors overlap if one label set meets the requirements of both on each label. So those
    that overlap with one are found with an operation on sets for each of its labels.
    """

    def __init__(self) -> None:
        self._all: set[Ref] = set()
        self._with_values = Multimap[str, Ref]()
        self._with_value = Multimap[tuple[str, str], Ref]()
        self._several: dict[tuple[Ref, str], set[str]] = {}
        """The values of a selector that allows more than one."""
        self._present = Multimap[str, Ref]()
        self._absent = Multimap[str, Ref]()
        self._without_value = Multimap[tuple[str, str], Ref]()

    def add(self, identity: ServiceIdentity) -> None:
        """Add the selector of an identity, unless it can select no pod."""
        found = demands(identity.spec.workload.pod_selector)
        if found is None:
            return
        self._all.add(identity.ref)
        for index, key in self._indexes(found):
            index.add(key, identity.ref)
        for key, demand in found.items():
            if len(values := _values(demand)) > 1:
                self._several[identity.ref, key] = values

    def remove(self, identity: ServiceIdentity) -> None:
        """Remove the selector of an identity."""
        found = demands(identity.spec.workload.pod_selector) or {}
        self._all.discard(identity.ref)
        for index, key in self._indexes(found):
            index.discard(key, identity.ref)
        for key in found:
            self._several.pop((identity.ref, key), None)

    def _indexes(self, found: dict[str, Demand]) -> Iterator[tuple[Multimap[Any, Ref], object]]:
        """Yield each index that has a selector, with its key there."""
        for key, demand in found.items():
            if demand.must_not_exist:
                yield self._absent, key
            elif demand.allowed is not None:
                yield self._with_values, key
                yield from ((self._with_value, (key, value)) for value in _values(demand))
            else:
                if demand.must_exist:
                    yield self._present, key
                yield from ((self._without_value, (key, value)) for value in demand.excluded)

    def overlapping(self, identity: ServiceIdentity) -> set[Ref]:
        """Return the identities whose selectors overlap with one's own."""
        found = demands(identity.spec.workload.pod_selector)
        left = self._all if found is not None else _NOTHING
        # those with values first, because they leave few
        for key, demand in sorted((found or {}).items(), key=lambda each: each[1].allowed is None):
            if demand.must_not_exist:
                left = left - self._with_values.of(key)
                left = left - self._present.of(key)
            elif demand.allowed is not None:
                left = self._with_values_of(left, key, _values(demand))
            else:
                if demand.must_exist:
                    left = left - self._absent.of(key)
                left = left - self._only_among(key, demand.excluded)
        return left

    def _with_values_of(self, left: set[Ref], key: str, values: set[str]) -> set[Ref]:
        """Return those that allow one of the values of a label, or any."""
        same = _union(self._with_value.of((key, value)) for value in values)
        valued = self._with_values.of(key)
        if left is self._all and len(valued) == len(left):
            return same  # the usual case: all select by this label
        excluding = (self._without_value.of((key, value)) for value in values)
        without = set.intersection(*map(set, excluding))
        return (left - valued - self._absent.of(key) - without) | (left & same)

    def _only_among(self, key: str, values: frozenset[str]) -> set[Ref]:
        """Return those that allow no other than these values of a label."""
        some = _union(self._with_value.of((key, value)) for value in values)
        return {ref for ref in some if self._several.get((ref, key), _NO_VALUES) <= values}


_NOTHING: set[Ref] = set()
_NO_VALUES: frozenset[str] = frozenset()


def _values(demand: Demand) -> set[str]:
    return (demand.allowed or set()) - demand.excluded


def _union(sets: Iterable[AbstractSet[Ref]]) -> set[Ref]:
    return set().union(*sets)


def shared_with(identity: ServiceIdentity, other: ServiceIdentity) -> SharedIdentity:
    """Return what an identity shares with another one that collides with it."""
    changed = _culprit(identity, other)
    return SharedIdentity(_message(identity, other, changed), other.ref, changed)


def shared_with_many(identity: ServiceIdentity, shares: str) -> SharedIdentity:
    """Return what an identity shares with too many others to name one; `crowd` returns `shares`."""
    return SharedIdentity(
        f"more than {MOST_NAMED} other ServiceIdentities of namespace {identity.ref.namespace} "
        f"{shares}; give each workload its own ServiceAccount, and all podSelectors a common "
        "label, such as app, with different values"
    )


def _culprit(identity: ServiceIdentity, other: ServiceIdentity) -> Ref | None:
    """Return which of two colliding identities has to change; None if both may.

    It is the one that is being deleted; else the one whose ServiceAccount has the other's name, or
    whose podSelector selects every pod of the other and more; else the newer one. A manifest that
    is not applied yet has no creation time and is the newer one.
    """
    pairs = ((identity, other), (other, identity))
    for one, _ in pairs:
        if one.metadata.deletion_timestamp is not None:
            return one.ref
    for one, another in pairs:
        mine, theirs = one.spec.workload, another.spec.workload
        if mine.service_account_name == theirs.service_account_name:
            if theirs.service_account_name == another.ref.name:
                return one.ref
        elif includes(mine.pod_selector, theirs.pod_selector) and not includes(
            theirs.pod_selector, mine.pod_selector
        ):
            return one.ref
    ages = [each.metadata.creation_timestamp for each in (identity, other)]
    if ages[0] == ages[1]:
        return None
    newer = ages[0] is None or (ages[1] is not None and ages[0] > ages[1])
    return identity.ref if newer else other.ref


def _message(identity: ServiceIdentity, other: ServiceIdentity, changed: Ref | None) -> str:
    """Return the message that says what two identities share, and to change `changed`."""
    account = identity.spec.workload.service_account_name
    same_account = account == other.spec.workload.service_account_name
    if other.metadata.deletion_timestamp is not None:
        shares = (
            f"uses the ServiceAccount {account}" if same_account else "can select the same pods"
        )
        return (
            f"ServiceIdentity {other.ref} is being deleted but {shares} until it is gone; remove "
            "its finalizers"
        )
    kept = other.ref if changed == identity.ref else identity.ref
    pair = " and ".join(sorted(map(str, (identity.ref, other.ref))))
    if same_account:
        owner = "each workload" if changed is None else changed
        return (
            f"ServiceIdentities {pair} use the same ServiceAccount {account}; give {owner} a "
            "ServiceAccount of its own"
        )
    if changed is None:
        return (
            f"ServiceIdentities {pair} can select the same pods; give both podSelectors a common "
            "label, such as app, with different values"
        )
    return (
        f"ServiceIdentity {changed} can select the same pods as ServiceIdentity {kept}; give the "
        f"podSelector of {changed} a label, such as app, with a value that {kept} does not select"
    )
