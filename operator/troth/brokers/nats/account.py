"""Credentials and rules in the claims of a NATS account, and their changes by a batch. Pure.

Each credential is a scoped signing key of its own (see `scopes`). A foreign signing key is observed
as a principal named after its public key, a name that no principal of Troth can have. Troth never
changes it.
"""

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Any

from troth.brokers.nats.jwt import Claims, is_account_key
from troth.brokers.nats.openings import openings
from troth.brokers.nats.scopes import (
    Scope,
    common,
    foreign_rules,
    key_of,
    place_of,
    scope_of,
    signing_keys,
    unfit,
)
from troth.brokers.protocol import Batch, Credential, Failure
from troth.trust.grants import Observed, Rule, Slot

_FOREIGN = "Troth does not change a signing key that it did not make"
_NO_CREDENTIAL = "NATS stores permissions with a credential, and the principal has none"
_HELD_BACK = "not applied, because the principal's credential failed"


@dataclass(frozen=True, slots=True)
class Change:
    """Account after a batch: its claims, the failed changes, and the removed keys."""

    claims: Claims = field(repr=False)
    failures: tuple[Failure, ...]
    revoked: frozenset[str]


def observed(claims: Claims) -> Observed:
    """Return every credential and rule of an account; raises `ValueError` if it is malformed.

    A rule that not all of a principal's keys have is returned with the key as its `pattern`. A
    foreign key is in the first slot.
    """
    credentials: set[tuple[str, Slot]] = set()
    rules: set[Rule] = set()
    scopes: dict[str, list[Scope]] = {}
    for entry in signing_keys(claims):
        scope = scope_of(entry)
        if scope is None:
            credentials.add((key_of(entry), Slot.FIRST))
            rules |= foreign_rules(entry)
        else:
            credentials.add((scope.principal, scope.slot))
            scopes.setdefault(scope.principal, []).append(scope)
    for held in scopes.values():
        shared = common(held)
        rules |= shared
        for scope in held:
            rules |= {replace(rule, pattern=scope.key) for rule in scope.rules - shared}
    return Observed(frozenset(credentials), frozenset(rules), frozenset(openings(claims)))


def principals(claims: Claims) -> dict[str, str]:
    """Return the principal of each signing key; a foreign key is its own principal."""
    found = {}
    for entry in signing_keys(claims):
        place, key = place_of(entry), key_of(entry)
        found[key] = place[0] if place is not None else key
    return found


def changed(claims: Claims, batch: Batch) -> Change:
    """Return the account after a batch; everything that the batch does not name is unchanged.

    Raises `ValueError` if the account is malformed.
    """
    work = _Work.on(claims, _spoken_of(batch))
    before = set(work.keys)
    for credential in batch.credentials:
        work.note((credential.principal, credential.slot), work.put(credential))
    for rule in batch.additions:
        work.note(rule, work.add(rule))
    for rule in batch.removals:
        work.note(rule, work.remove(rule))
    for principal, slot in batch.revocations:
        work.note((principal, slot), work.revoke(principal, slot))
    nats, entries = claims["nats"], work.result()
    if entries != signing_keys(claims):
        nats = {**nats, "signing_keys": entries}
    return Change({**claims, "nats": nats}, tuple(work.failures), frozenset(before - work.keys))


def _spoken_of(batch: Batch) -> set[str]:
    """Return the principals that a batch names."""
    ruled = {rule.principal for rule in (*batch.additions, *batch.removals)}
    revoked = {principal for principal, _ in batch.revocations}
    return ruled | revoked | {credential.principal for credential in batch.credentials}


@dataclass(slots=True)
class _Work:
    """Signing keys while a batch is applied. Each change returns why it failed, else ""."""

    keys: set[str]
    """All public keys in use, including the account's own."""
    foreign: set[str] = field(default_factory=set)
    entries: list[Any] = field(default_factory=list, repr=False)
    """Signing keys in their order: a `Scope` if the batch names its principal, else as received."""
    scopes: dict[str, list[Scope]] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    held_back: set[str] = field(default_factory=set)

    @classmethod
    def on(cls, claims: Claims, spoken_of: Collection[str]) -> "_Work":
        work = cls({str(claims.get("sub"))})
        for entry in signing_keys(claims):
            place = place_of(entry)
            scope = scope_of(entry) if place is not None and place[0] in spoken_of else None
            if scope is not None:
                work.hold(scope)
                continue
            work.keys.add(key_of(entry))
            work.entries.append(entry)
            if place is None:
                work.foreign.add(key_of(entry))
        return work

    def hold(self, scope: Scope) -> None:
        self.keys.add(scope.key)
        self.entries.append(scope)
        self.scopes.setdefault(scope.principal, []).append(scope)

    def drop(self, scope: Scope) -> None:
        self.keys.discard(scope.key)
        self.scopes[scope.principal].remove(scope)

    def result(self) -> list[Any]:
        live = {scope for scopes in self.scopes.values() for scope in scopes}
        return [
            entry.entry() if isinstance(entry, Scope) else entry
            for entry in self.entries
            if not isinstance(entry, Scope) or entry in live
        ]

    def note(self, change: Rule | tuple[str, Slot], message: str) -> None:
        if message:
            self.failures.append(Failure(change, message))

    def put(self, credential: Credential) -> str:
        message = self._put(credential)
        if message:
            self.held_back.add(credential.principal)
        return message

    def _put(self, credential: Credential) -> str:
        principal, slot, key = credential.principal, credential.slot, credential.material
        if not principal or is_account_key(principal):
            return "a NATS principal needs a name that is not a public key"
        if not is_account_key(key):
            return "a NATS credential is the public key of a signing key"
        held = self.scopes.get(principal, [])
        mine = [scope for scope in held if scope.slot is slot]
        if [scope.key for scope in mine] == [key]:
            return ""
        if key in self.keys and all(scope.key != key for scope in mine):
            return "the account already uses that signing key for something else"
        rules = common(held) if held else set()
        for scope in mine:
            self.drop(scope)
        self.hold(Scope(principal, slot, key, rules))
        return ""

    def add(self, rule: Rule) -> str:
        if rule.principal in self.held_back:
            return _HELD_BACK
        if rule.principal in self.foreign:
            return _FOREIGN
        if message := unfit(rule):
            return message
        scopes = self.scopes.get(rule.principal, [])
        for scope in scopes:
            scope.add(rule)
        return "" if scopes else _NO_CREDENTIAL

    def remove(self, rule: Rule) -> str:
        if rule.principal in self.foreign:
            return _FOREIGN
        scopes, whole = self.scopes.get(rule.principal, []), replace(rule, pattern="")
        if rule.pattern:
            # The rule was extra on one key. If all keys have it by now, it is not extra any more.
            everywhere = len(scopes) > 1 and all(whole in scope.rules for scope in scopes)
            scopes = [scope for scope in scopes if scope.key == rule.pattern and not everywhere]
        for scope in scopes:
            scope.remove(whole)
        return ""

    def revoke(self, principal: str, slot: Slot) -> str:
        if principal in self.foreign:
            return _FOREIGN
        for scope in list(self.scopes.get(principal, [])):
            if scope.slot is slot:
                self.drop(scope)
        return ""
