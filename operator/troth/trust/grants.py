"""What principals may do at a message broker: as it is declared, and in the broker's own words."""

from dataclasses import dataclass
from enum import StrEnum

from troth.resources.messaging.topic_policy_status import Action

__all__ = ["Action", "Grant", "Observed", "Place", "Rule", "Slot", "Topic"]


class Slot(StrEnum):
    """Where one of a principal's two credentials is kept at its broker."""

    FIRST = "First"
    SECOND = "Second"

    @property
    def other(self) -> "Slot":
        """The other one."""
        return Slot.SECOND if self is Slot.FIRST else Slot.FIRST


Place = tuple[str, Slot]
"""Where a credential is at a broker: its principal, and in which of the two slots."""


@dataclass(frozen=True, slots=True, order=True)
class Topic:
    """A topic, queue or subject, or all whose names begin with `name`."""

    name: str
    prefix: bool = False


@dataclass(frozen=True, slots=True, order=True)
class Grant:
    """One action on one topic, for one principal.

    `group` is the consumer group, queue group or durable consumer it consumes by; `stream` the
    stream that keeps the messages, where the broker has such. Both are empty for none.
    """

    principal: str
    action: Action
    topic: Topic
    group: str = ""
    stream: str = ""


@dataclass(frozen=True, slots=True, order=True)
class Rule:
    """One permission as a broker knows it.

    `kind`, `pattern`, `operation`, `effect` and `host` are the broker's own words, and empty where
    it has none: Kafka's ACL binding is `("troth-shop.checkout", "TOPIC", "LITERAL", "prod.orders",
    "WRITE", "ALLOW", "*")`, a NATS permission `(..., "SUBJECT", "", "prod.orders", "PUB", "ALLOW",
    "")`.
    """

    principal: str
    kind: str
    pattern: str
    name: str
    operation: str
    effect: str = "ALLOW"
    host: str = ""


@dataclass(frozen=True, slots=True)
class Observed:
    """All that a broker has: which slots of which principals hold a credential, and every rule."""

    credentials: frozenset[Place] = frozenset()
    rules: frozenset[Rule] = frozenset()
