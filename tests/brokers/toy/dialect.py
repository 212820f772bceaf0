"""Dialect of the toy broker: everything that needs no connection to it."""

import hashlib
import re
import secrets
from collections.abc import Iterator, Mapping
from datetime import datetime

from tests.brokers.toy.server import May
from troth.brokers.protocol import AdminDialect, CredentialRequest, Dialect, NewCredential
from troth.resources.messaging.message_broker import MessageBroker, Owns
from troth.trust.grants import Action, Grant, Rule, Topic

NAME = re.compile(r"[A-Za-z0-9._-]{1,249}")
PASSWORD = re.compile(r"[A-Za-z0-9_-]{43}")


class ToyDialect(Dialect):
    name = "Toy"
    extra = "toy"
    driver = "tests.brokers.toy.driver"
    secret_key = "toy.password"
    public_keys = frozenset({"toy.servers"})

    def rules(self, grant: Grant) -> frozenset[Rule]:
        for name in (grant.principal, grant.topic.name, grant.group or "none"):
            if not NAME.fullmatch(name):
                raise ValueError(f"{name!r} is no name of a toy")
        return frozenset(_rules(grant))

    def access(self, rule: Rule, topic: Topic, stream: str = "") -> frozenset[Action]:  # noqa: ARG002
        whole = rule.pattern == "PREFIX" and topic.name.startswith(rule.name)
        part = topic.prefix and rule.name.startswith(topic.name)
        if rule.kind != "TOPIC" or not (whole or part or rule.name == topic.name):
            return frozenset()
        return frozenset({Action.PUBLISH if rule.operation == May.WRITE else Action.CONSUME})

    def is_owned(self, rule: Rule, owns: Owns) -> bool:
        owned = owns.topic_prefixes if rule.kind == "TOPIC" else owns.group_prefixes
        return rule.name.startswith(owned)

    def is_wildcard(self, rule: Rule) -> bool:
        return rule.pattern == "PREFIX" and not rule.name

    def issue(self, request: CredentialRequest, now: datetime) -> NewCredential:  # noqa: ARG002
        password = secrets.token_urlsafe(32)
        return NewCredential(password, password)

    def material_of(self, principal: str, secret: str) -> str:  # noqa: ARG002
        if not PASSWORD.fullmatch(secret):
            raise ValueError("the password is not one that Troth made")
        return secret

    def fingerprint_of(self, material: str) -> str:
        return hashlib.sha256(material.encode()).hexdigest()[:16]

    def public_data(self, request: CredentialRequest) -> Mapping[str, str]:
        return {"toy.servers": ",".join(request.servers)}

    def admin(self, broker: MessageBroker) -> AdminDialect | str:
        return f"the keeper of {broker.ref} replaces its password; delete this"


def _rules(grant: Grant) -> Iterator[Rule]:
    pattern = "PREFIX" if grant.topic.prefix else "NAME"
    may = May.WRITE if grant.action is Action.PUBLISH else May.READ
    yield Rule(grant.principal, "TOPIC", pattern, grant.topic.name, may)
    if grant.action is Action.CONSUME and grant.group:
        yield Rule(grant.principal, "GROUP", "NAME", grant.group, May.JOIN)
