"""Grants of principals at a message broker, as declared and as the broker's own rules."""

from dataclasses import dataclass, field
from enum import StrEnum

from troth.resources.messaging.topic_policy_status import Action

__all__ = ["Action", "Grant", "Observed", "Place", "Rule", "Slot", "Topic"]


class Slot(StrEnum):
    """Slot of one of the two credentials that a principal can have at its broker."""

    FIRST = "First"
    SECOND = "Second"

    @property
    def other(self) -> "Slot":
        """The other slot."""
        return Slot.SECOND if self is Slot.FIRST else Slot.FIRST


Place = tuple[str, Slot]
"""Where a credential is at a broker: its principal, and in which of the two slots."""


@dataclass(frozen=True, slots=True, order=True)
class Topic:
    """Topic, queue or subject, or all whose names begin with `name`."""

    name: str
    prefix: bool = False


@dataclass(frozen=True, slots=True, order=True)
class Grant:
    """Grant of one action on one topic to one principal.

    `group` is the consumer group, queue group or durable consumer, `stream` the stream that stores
    the messages. Both are empty if there is none.
    """

    principal: str
    action: Action
    topic: Topic
    group: str = ""
    stream: str = ""


@dataclass(frozen=True, slots=True, order=True)
class Rule:
    """Permission in a broker's own terms.

    `kind`, `pattern`, `operation`, `effect` and `host` are terms of the broker, empty if it has
    none. A Kafka ACL is `("troth-shop.checkout", "TOPIC", "LITERAL", "prod.orders", "WRITE",
    "ALLOW", "*")`, a NATS permission `(..., "SUBJECT", "", "prod.orders", "PUB", "ALLOW", "")`.
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
    """All that a broker has: which slots of which principals hold a credential, and every rule.

    `openings` is access besides the rules, such as of super users, written as rules. No equality
    depends on it.
    """

    credentials: frozenset[Place] = frozenset()
    rules: frozenset[Rule] = frozenset()
    openings: frozenset[Rule] = field(default=frozenset(), compare=False)
