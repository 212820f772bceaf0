"""What is tried with messages, what must become of it, and whether it did."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema_rs

from sandbox.demo.cast import CHECKOUT, FULFILMENT
from sandbox.demo.messaging import (
    DEAD_LETTERS,
    ORDERS,
    OTHERS_GROUP,
    PAYMENTS,
    Answer,
    OnStage,
    Refusal,
    Service,
)
from sandbox.demo.shop import Place

ORDER, BROKEN = '{"order": "1001", "items": ["a book"]}', '{"order": "1002"}'
"""A message as the policy's schema asks, and one that has nothing of what was ordered."""
GROUP = "fulfilment"


@dataclass(frozen=True, slots=True)
class Deed:
    """Something that a service does.

    It must be refused by `refusal`, if there is one; else be done and, where the answer is a
    message, bring just `message`.
    """

    service: Place
    about: str
    refusal: Refusal | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class Done:
    """A deed and what the broker answered; `pattern` is what its refusal has to look like."""

    deed: Deed
    answer: Answer
    pattern: str = ""

    @property
    def is_wrong(self) -> bool:
        """Whether anything else became of it than had to."""
        if self.deed.refusal is None:
            brought = self.deed.message in {"", self.answer.words}
            return self.answer.refused or not brought
        return not (self.answer.refused and re.search(self.pattern, self.answer.words))


def declared(services: Mapping[Place, Service]) -> Iterator[Done]:
    """Do what is declared: orders go from checkout to fulfilment, and one of them aside."""
    checkout, fulfilment = services[CHECKOUT], services[FULFILMENT]
    for message, about in ((ORDER, "publishes an order"), (BROKEN, "publishes a broken one")):
        yield Done(Deed(CHECKOUT, f"{about} to {ORDERS}"), checkout.publish(ORDERS, message))
    for message, about in ((ORDER, "consumes the order"), (BROKEN, "consumes the broken one")):
        deed = Deed(FULFILMENT, f"{about} as {GROUP}", message=message)
        yield Done(deed, fulfilment.consume(ORDERS, GROUP))
    aside = Deed(FULFILMENT, f"puts it aside on {DEAD_LETTERS}")
    yield Done(aside, fulfilment.publish(DEAD_LETTERS, BROKEN))


def undeclared(
    stage: OnStage, services: Mapping[Place, Service], files: Mapping[Place, Path]
) -> Iterator[Done]:
    """Do what nobody declared, with good credentials; then pose as another."""
    checkout, fulfilment = services[CHECKOUT], services[FULFILMENT]

    def refused(who: Place, about: str, refusal: Refusal, answer: Answer) -> Done:
        return Done(Deed(who, about, refusal), answer, stage.refusals[refusal])

    yield refused(
        *(FULFILMENT, f"publishes to {ORDERS}, which it consumes"),
        *(Refusal.PUBLISH, fulfilment.publish(ORDERS, ORDER)),
    )
    yield refused(
        *(FULFILMENT, f"consumes {ORDERS} as {OTHERS_GROUP}"),
        *(Refusal.CONSUME, fulfilment.consume(ORDERS, OTHERS_GROUP)),
    )
    yield refused(
        *(CHECKOUT, f"consumes {ORDERS} as {GROUP}"),
        *(Refusal.CONSUME, checkout.consume(ORDERS, GROUP)),
    )
    yield refused(
        *(CHECKOUT, f"publishes to {PAYMENTS}, undeclared"),
        *(Refusal.PUBLISH, checkout.publish(PAYMENTS, ORDER)),
    )
    yield refused(
        *(CHECKOUT, "logs in as fulfilment, with its own secret"),
        *(Refusal.LOGIN, stage.log_in(files[CHECKOUT], posing_as=files[FULFILMENT])),
    )


def misjudged(identity: Path) -> str:
    """Judge both messages as `identity.json` tells fulfilment to; return what is wrong with that.

    Empty where the order is good, the broken one is not, and goes where it was put.
    """
    entries = json.loads((identity / "identity.json").read_text()).get("messages", [])
    told: dict[str, Any] = next((each for each in entries if each["action"] == "Consume"), {})
    schema = json.loads(told.get("schema", "false"))
    judged = [jsonschema_rs.is_valid(schema, json.loads(each)) for each in (ORDER, BROKEN)]
    aside = told.get("deadLetter", {}).get("topic")
    if judged == [True, False] and aside == DEAD_LETTERS:
        return ""
    return f"the order and the broken one are {judged}; what is broken goes to {aside}"
