"""What a grant is in Kafka's own words: the ACLs that its StandardAuthorizer goes by.

Nothing is granted beside what is used. DESCRIBE is implied by READ and by WRITE, and who may write
to any topic may produce idempotently: IDEMPOTENT_WRITE on the cluster has had no use since
Kafka 2.8 (KIP-679).

Kafka holds topics and groups apart: who consumes two topics, each by a group of its own, may
consume either by either group.
"""

import re
from collections.abc import Iterable

from troth.trust.grants import Action, Grant, Rule, Topic

ALLOWED = re.compile(r"[a-zA-Z0-9._-]{1,249}")
"""A topic's name as Kafka takes it. Groups and principals could be almost anything, yet of another
name somebody may think that it is a pattern, as Kafka does of `*`.
"""
NO_TOPICS = frozenset({".", ".."})
INTERNAL = frozenset(
    {
        *("__cluster_metadata", "__consumer_offsets", "__remote_log_metadata"),
        *("__share_group_state", "__transaction_state"),
    }
)
"""Topics that Kafka keeps its own state in: whoever may write there may move others' offsets."""
NOBODY = "ANONYMOUS"
"""Whom Kafka takes everybody for who comes without a credential."""
ANY_HOST = "*"


def rules(grants: Iterable[Grant]) -> frozenset[Rule]:
    """Return the ACLs that give exactly these grants, each once; `stream` means nothing here.

    Raises `ValueError`, with a sentence, for a name that Kafka does not allow or that could grant
    more than is declared, and for a consumer without a group.
    """
    return frozenset(rule for grant in grants for rule in _rules(grant))


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


def _principal(name: str) -> str:
    if name == NOBODY:
        raise ValueError(f"the principal {NOBODY} stands for every client without a credential")
    return _name("principal", name)


def _topic(topic: Topic) -> tuple[str, str]:
    """Return the type of the pattern, and what is to match."""
    name = _name("topic prefix" if topic.prefix else "topic", topic.name)
    if not topic.prefix and name in NO_TOPICS:
        raise ValueError(f"{name!r} is not a topic name")
    for internal in sorted(INTERNAL):
        if internal == name or (topic.prefix and internal.startswith(name)):
            raise ValueError(f"{name!r} would grant Kafka's internal topic {internal}")
    return ("PREFIXED" if topic.prefix else "LITERAL"), name


def _name(what: str, name: str) -> str:
    if not ALLOWED.fullmatch(name):
        raise ValueError(
            f"{name!r} is not a {what} name; write 1 to 249 letters, digits, dots, underscores "
            "and dashes"
        )
    return name
