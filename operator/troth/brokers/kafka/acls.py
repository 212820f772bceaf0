"""Conversion of Kafka's ACL bindings to rules, and of rules to ACL bindings."""

from enum import Enum
from typing import TypeVar

from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
)

from troth.trust.grants import Rule

E = TypeVar("E", bound=Enum)

USER = "User:"
CLUSTER = "CLUSTER"
"""Kafka's name for the resource type that librdkafka calls BROKER; both have the same number."""
PATTERNS = frozenset({"ANY", "MATCH", "UNKNOWN"})
"""Values that match several others in a filter, so a deletion with them removes other ACLs too."""
LONGEST = 8_000
"""Maximum characters of a name.

A name over Kafka's 32,767 bytes closes the connection, so its batch would always fail.
"""

EVERYTHING = AclBindingFilter(
    ResourceType.ANY,
    None,  # type: ignore[arg-type]  # any name, any principal, any host
    ResourcePatternType.ANY,
    None,  # type: ignore[arg-type]
    None,  # type: ignore[arg-type]
    AclOperation.ANY,
    AclPermissionType.ANY,
)


def rule_of(acl: AclBinding) -> Rule:
    """Return an ACL as a rule.

    A principal of a type other than `User`, or with a colon in its name, keeps its type as a
    prefix. Values that librdkafka does not know, such as delegation tokens, are `UNKNOWN`.
    """
    kind = ResourceType(acl.restype).name
    name = acl.principal.removeprefix(USER)
    return Rule(
        principal=acl.principal if ":" in name else name,
        kind=CLUSTER if kind == ResourceType.BROKER.name else kind,
        pattern=ResourcePatternType(acl.resource_pattern_type).name,
        name=acl.name,
        operation=AclOperation(acl.operation).name,
        effect=AclPermissionType(acl.permission_type).name,
        host=acl.host,
    )


def binding_of(rule: Rule) -> AclBinding:
    """Return a rule as an ACL, the inverse of `rule_of`; raises `ValueError`."""
    for text in (rule.principal, rule.name, rule.host):
        if not passable(text):
            raise ValueError(f"{text[:80]!r} cannot be passed to Kafka unchanged")
    return AclBinding(
        _word(ResourceType, "BROKER" if rule.kind == CLUSTER else rule.kind),
        rule.name,
        _word(ResourcePatternType, rule.pattern),
        rule.principal if ":" in rule.principal else f"{USER}{rule.principal}",
        rule.host,
        _word(AclOperation, rule.operation),
        _word(AclPermissionType, rule.effect),
    )


def filter_of(rule: Rule) -> AclBindingFilter:
    """Return a filter that matches only this rule's ACL; raises `ValueError`."""
    acl = binding_of(rule)
    return AclBindingFilter(
        acl.restype,
        acl.name,
        acl.resource_pattern_type,
        acl.principal,
        acl.host,
        acl.operation,
        acl.permission_type,
    )


def passable(text: str) -> bool:
    """Return whether a text reaches Kafka unchanged.

    librdkafka cuts a text at the first NUL, and treats an empty text in a filter as any.
    """
    return 0 < len(text) <= LONGEST and text.isprintable()


def _word(words: type[E], name: str) -> E:
    if name in PATTERNS or name not in words.__members__:
        raise ValueError(f"Kafka has no {words.__name__} {name[:80]!r}")
    return words[name]
