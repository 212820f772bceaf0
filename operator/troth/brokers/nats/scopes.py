"""Scoped signing keys of a NATS account, and their rules. Pure.

A user signed by such a key has exactly the permissions of the key's scope, which is part of the
account (docs.nats.io, "Scoped signing keys"). Troth recognizes its own scopes by their description.

A scope with an empty allow list allows everything. So a scope that must allow nothing denies `>`.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from troth.brokers.nats.jwt import Claims, is_account_key
from troth.brokers.nats.rules import SUBJECT, Operation, everything
from troth.trust.grants import Place, Rule, Slot

T = TypeVar("T")

TEMPLATE = "TEMPLATE"
"""`kind` of a rule for any other member of a scope: `name` is the member, `operation` its JSON.

An example is `bearer_token`, with which a JWT is accepted without its key. Troth never plans such a
rule, so it is drift.
"""

_KIND = "user_scope"
_DESCRIPTIONS = {f"troth.dev/{slot}": slot for slot in Slot}
_UNLIMITED = {"subs": -1, "data": -1, "payload": -1}
_ALLOW, _DENY = "ALLOW", "DENY"
_NOTHING = {"deny": [">"]}
_SIDES = {"pub": Operation.PUBLISH, "sub": Operation.SUBSCRIBE}


@dataclass(slots=True, eq=False)
class Scope:
    """Signing key that Troth created; its `rules` always have an empty `pattern`."""

    principal: str
    slot: Slot
    key: str
    rules: set[Rule]
    current: Mapping[str, Any] | None = field(default=None, repr=False)
    """Entry in the account that the scope was read from, None if it is new or changed."""

    def add(self, rule: Rule) -> None:
        """Add a rule, if it is missing."""
        if rule not in self.rules:
            self.rules.add(rule)
            self.current = None

    def remove(self, rule: Rule) -> None:
        """Remove a rule, if it exists."""
        if rule in self.rules:
            self.rules.remove(rule)
            self.current = None

    def entry(self) -> Mapping[str, Any]:
        """Return the scope's entry for the account."""
        if self.current is not None:
            return self.current
        return {
            "kind": _KIND,
            "key": self.key,
            "role": self.principal,
            "template": {
                **{side: self._lists(operation) for side, operation in _SIDES.items()},
                **_UNLIMITED,
                **self._rest(),
            },
            "description": f"troth.dev/{self.slot}",
        }

    def _lists(self, operation: Operation) -> dict[str, list[str]]:
        chosen = [
            rule for rule in self.rules if (rule.kind, rule.operation) == (SUBJECT, operation)
        ]
        allow, deny = (
            sorted(rule.name for rule in chosen if rule.effect == effect)
            for effect in (_ALLOW, _DENY)
        )
        if not allow:
            return dict(_NOTHING)
        return {"allow": allow, "deny": deny} if deny else {"allow": allow}

    def _rest(self) -> dict[str, Any]:
        """Return the other members of the template that no batch has removed."""
        return {
            rule.name: json.loads(rule.operation)
            for rule in self.rules
            if rule.kind == TEMPLATE and "." not in rule.name
        }


def signing_keys(claims: Claims) -> list[Any]:
    """Return an account's signing keys, each a public key or a scope; raises `ValueError`."""
    nats = claims.get("nats")
    keys = (nats.get("signing_keys") or []) if isinstance(nats, dict) else None
    return _shaped(keys, list, "an account without a list of signing keys")


def key_of(entry: object) -> str:
    """Return the public key of a signing key; raises `ValueError`."""
    key = entry.get("key") if isinstance(entry, dict) else entry
    return _shaped(key, str, "an account with an invalid signing key")


def place_of(entry: object) -> Place | None:
    """Return the principal and slot of Troth's scope, None for a foreign signing key."""
    if not isinstance(entry, dict) or entry.get("kind") != _KIND:
        return None
    slot, role = _DESCRIPTIONS.get(str(entry.get("description"))), entry.get("role")
    if slot is None or not isinstance(role, str) or not role or is_account_key(role):
        return None
    return role, slot


def scope_of(entry: object) -> Scope | None:
    """Return Troth's scope, None for a foreign signing key; raises `ValueError`."""
    place = place_of(entry)
    if place is None or not isinstance(entry, dict):
        return None
    principal, slot = place
    return Scope(principal, slot, key_of(entry), set(_rules(principal, entry)), entry)


def foreign_rules(entry: object) -> set[Rule]:
    """Return the rules of a foreign signing key; without a scope they allow everything."""
    if isinstance(entry, dict):
        return set(_rules(key_of(entry), entry))
    return set(everything(key_of(entry)))


def permissions(principal: str, nats: object) -> set[Rule]:
    """Return the rules in the claims of a user; raises `ValueError`."""
    claims = _shaped(nats, dict, "a user without claims")
    return {rule for rule in _rules(principal, {"template": claims}) if rule.kind == SUBJECT}


def common(scopes: Iterable[Scope]) -> set[Rule]:
    """Return the rules that all scopes have; there must be at least one scope."""
    return set.intersection(*(scope.rules for scope in scopes))


def unfit(rule: Rule) -> str:
    """Return why a rule is invalid for NATS, "" if it is valid.

    NATS would reject the whole push because of one invalid rule.
    """
    known = rule.kind == SUBJECT and rule.effect in {_ALLOW, _DENY}
    if not known or rule.operation not in set(Operation) or rule.pattern or rule.host:
        return "not a NATS permission"
    parts = rule.name.split(" ")
    if len(parts) > (2 if rule.operation == Operation.SUBSCRIBE else 1):
        return "a NATS subject has no spaces"
    if "{{" in rule.name or not rule.name.isprintable():
        return "a subject with a template or an invisible character"
    if not all(token for part in parts for token in part.split(".")):
        return "a subject with an empty token"
    return ""


def _rules(principal: str, entry: Mapping[str, Any]) -> Iterator[Rule]:
    template = _shaped(entry.get("template") or {}, dict, "a scope without a template")
    for side, operation in _SIDES.items():
        lists = _shaped(template.get(side) or {}, dict, "a scope without permissions")
        allow, deny = _subjects(lists, "allow"), _subjects(lists, "deny")
        if not allow:
            allow, deny = ([], []) if deny == _NOTHING["deny"] else ([">"], deny)
        for effect, subjects in ((_ALLOW, allow), (_DENY, deny)):
            for subject in subjects:
                yield Rule(principal, SUBJECT, "", subject, operation, effect)
        for member in lists.keys() - {"allow", "deny"}:
            yield Rule(principal, TEMPLATE, "", f"{side}.{member}", _text(lists[member]))
    for member in template.keys() - _SIDES.keys():
        if template[member] != _UNLIMITED.get(member):
            yield Rule(principal, TEMPLATE, "", member, _text(template[member]))


def _subjects(lists: Mapping[str, Any], member: str) -> list[str]:
    subjects = _shaped(lists.get(member) or [], list, "a scope without subjects")
    return [_shaped(subject, str, "a scope with an invalid subject") for subject in subjects]


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _shaped(value: object, shape: type[T], otherwise: str) -> T:
    if not isinstance(value, shape):
        raise ValueError(otherwise)  # noqa: TRY004 - an invalid value
    return value
