"""Translation of grants to ACLs of Kafka's StandardAuthorizer. Pure.

The ACLs permit only what a grant needs. READ and WRITE imply DESCRIBE. A client that may write to
any topic may also produce idempotently: IDEMPOTENT_WRITE on the cluster has no use since Kafka 2.8
(KIP-679).

A reviewer reads a topic without a group: it assigns partitions to itself and commits no offsets.

Kafka does not combine topics and groups. A client that may consume two topics, each with a group of
its own, may consume either topic with either group.
"""

import re
from collections.abc import Iterable

from troth.resources.messaging.message_broker import Owns
from troth.trust.grants import Action, Grant, Rule, Topic

ALLOWED = re.compile(r"[a-zA-Z0-9._-]{1,249}")
"""Names of topics that Kafka allows.

Kafka allows almost any name for groups and principals. Troth limits them too, because other names
could be read as a pattern, as Kafka does with `*`.
"""
NO_TOPICS = frozenset({".", ".."})
INTERNAL = frozenset(
    {
        *("__cluster_metadata", "__consumer_offsets", "__remote_log_metadata"),
        *("__share_group_state", "__transaction_state"),
    }
)
"""Topics with Kafka's own state. A client that may write there could move others' offsets."""
NOBODY = "ANONYMOUS"
"""Kafka's principal for all clients without a credential."""
ANY_HOST = "*"
EVERYBODY = "*"
"""Kafka's principal that stands for every principal, those without a credential included."""
EVERYTHING = "*"
"""Name of a literal pattern that matches every resource (Kafka's documentation, Authorization)."""
ACTIONS = {
    "WRITE": frozenset({Action.PUBLISH}),
    "READ": frozenset({Action.CONSUME}),
    "ALL": frozenset({Action.PUBLISH, Action.CONSUME}),
}
"""Actions on messages that an operation on a topic permits."""
SUPER_USERS = Rule("super.users", "TOPIC", "LITERAL", EVERYTHING, "ALL", host=ANY_HOST)
"""Access of the super users. Kafka does not disclose their names."""


def rules(grants: Iterable[Grant]) -> frozenset[Rule]:
    """Return the ACLs for exactly these grants, each once; `stream` is ignored.

    Raises `ValueError`, with a message for the status, for a name that Kafka does not allow or that
    could grant more than is declared, and for a consumer without a group.
    """
    return frozenset(rule for grant in grants for rule in _rules(grant))


def access(rule: Rule, topic: Topic) -> frozenset[Action]:
    """Return what an ACL allows on any of some topics, or denies on all of them."""
    actions = ACTIONS.get(rule.operation, frozenset()) if rule.kind == "TOPIC" else frozenset()
    if rule.effect == "ALLOW":
        return actions if _covers(rule, topic) or _is_within(rule, topic) else frozenset()
    return actions if rule.host == ANY_HOST and _covers(rule, topic) else frozenset()


def _covers(rule: Rule, topic: Topic) -> bool:
    """Return whether an ACL concerns all of some topics."""
    if rule.pattern == "PREFIXED":
        return topic.name.startswith(rule.name)
    return rule.name == EVERYTHING or (rule.name == topic.name and not topic.prefix)


def _is_within(rule: Rule, topic: Topic) -> bool:
    """Return whether an ACL concerns only some of the topics with a prefix."""
    return topic.prefix and rule.name.startswith(topic.name)


def is_wildcard(rule: Rule) -> bool:
    """Return whether an ACL is for every topic, or for every principal."""
    every_topic = rule.kind == "TOPIC" and rule.name == EVERYTHING and rule.pattern == "LITERAL"
    return every_topic or rule.principal == EVERYBODY


def is_owned(rule: Rule, owns: Owns) -> bool:
    """Return whether the topic or group of an ACL is owned."""
    owned = {"TOPIC": owns.topic_prefixes, "GROUP": owns.group_prefixes}.get(rule.kind, ())
    return rule.name.startswith(owned)


def _rules(grant: Grant) -> Iterable[Rule]:
    principal = _principal(grant.principal)
    pattern, topic = _topic(grant.topic)
    match grant.action:
        case Action.PUBLISH:
            yield Rule(principal, "TOPIC", pattern, topic, "WRITE", host=ANY_HOST)
        case Action.CONSUME:
            group = _name("group", grant.group)
            yield Rule(principal, "TOPIC", pattern, topic, "READ", host=ANY_HOST)
            yield Rule(principal, "GROUP", "LITERAL", group, "READ", host=ANY_HOST)
        case Action.REVIEW:
            yield Rule(principal, "TOPIC", pattern, topic, "READ", host=ANY_HOST)


def _principal(name: str) -> str:
    if name == NOBODY:
        raise ValueError(
            f"the principal {NOBODY} stands for every client without a credential; choose another "
            "principal"
        )
    return _name("principal", name)


def _topic(topic: Topic) -> tuple[str, str]:
    """Return the pattern type and the name."""
    what = "topic prefix" if topic.prefix else "topic"
    name = _name(what, topic.name)
    if not topic.prefix and name in NO_TOPICS:
        raise ValueError(f"{name!r} is not a topic name; choose another topic")
    for internal in sorted(INTERNAL):
        if internal == name or (topic.prefix and internal.startswith(name)):
            raise ValueError(
                f"{name!r} would grant Kafka's internal topic {internal}; choose another {what}"
            )
    return ("PREFIXED" if topic.prefix else "LITERAL"), name


def _name(what: str, name: str) -> str:
    if not ALLOWED.fullmatch(name):
        raise ValueError(
            f"{name!r} is not a {what} name; write 1 to 249 letters, digits, dots, underscores "
            "and dashes"
        )
    return name
