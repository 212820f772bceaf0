"""One scoped signing key of a NATS account, and the rules it comes to: pure.

A user signed by such a key has no permissions of its own but those of the scope, which stands in
the account (docs.nats.io, "Scoped signing keys"). Troth's are known by their description.

In a scope that allows nothing everything is allowed. So where nothing is to be, `>` is denied.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from troth.brokers.nats.jwt import Claims, is_account_key
from troth.brokers.nats.rules import SUBJECT, Operation
from troth.brokers.protocol import Slot
from troth.trust.grants import Rule
from troth.world.facts.broker import Place

T = TypeVar("T")

TEMPLATE = "TEMPLATE"
"""The `kind` of a rule for whatever else a scope says: `name` is the member, `operation` its JSON.

Such as `bearer_token`, which lets a JWT in without its key. It is never planned, so it is drift.
"""

_KIND = "user_scope"
_DESCRIPTIONS = {f"troth.dev/{slot}": slot for slot in Slot}
_UNLIMITED = {"subs": -1, "data": -1, "payload": -1}
_ALLOW, _DENY = "ALLOW", "DENY"
_NOTHING = {"deny": [">"]}
_SIDES = {"pub": Operation.PUBLISH, "sub": Operation.SUBSCRIBE}


@dataclass(slots=True, eq=False)
class Scope:
    """A signing key of Troth's; `rules` are as if it were the principal's only one."""

    principal: str
    slot: Slot
    key: str
    rules: set[Rule]
    standing: Mapping[str, Any] | None = field(default=None, repr=False)
    """The entry in the account it was read from, as long as it says what `rules` do."""

    def add(self, rule: Rule) -> None:
        """Add a rule; nothing if it is there."""
        if rule not in self.rules:
            self.rules.add(rule)
            self.standing = None

    def remove(self, rule: Rule) -> None:
        """Remove a rule; nothing if it is not there."""
        if rule in self.rules:
            self.rules.remove(rule)
            self.standing = None

    def entry(self) -> Mapping[str, Any]:
        """Return the entry in the account."""
        if self.standing is not None:
            return self.standing
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
        """Return what else the template said and no batch has removed yet."""
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
    """Return whose a scope of Troth's is and in which slot, None for a foreign signing key."""
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
    """Return the rules of a foreign signing key; without a scope its users may do anything."""
    if isinstance(entry, dict):
        return set(_rules(key_of(entry), entry))
    return {Rule(key_of(entry), SUBJECT, "", ">", operation) for operation in Operation}


def common(scopes: Iterable[Scope]) -> set[Rule]:
    """Return the rules that all of at least one scope have."""
    return set.intersection(*(scope.rules for scope in scopes))


def unfit(rule: Rule) -> str:
    """Return why a rule is none for NATS, else "": one that is not has the whole push refused."""
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
        raise ValueError(otherwise)  # noqa: TRY004 - it comes from outside
    return value
