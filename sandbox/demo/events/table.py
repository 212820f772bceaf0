"""The trials of events: one that fulfilment accepts, and all others with their dead letters."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from time import time
from typing import NamedTuple

from sandbox.demo.cast import CHECKOUT, FULFILMENT, PAYMENTS
from sandbox.demo.errors import DemoError
from sandbox.demo.events.exchange import ATTEMPTS, POLICY, SOLD_OUT, Exchange, Fulfilment, Party
from sandbox.demo.events.orders import CONTEXT, edited, first_second, forged, order, unsealed
from sandbox.demo.messages.broker import DEAD_LETTERS
from sandbox.demo.messages.broker import PAYMENTS as OTHER_TOPIC
from sandbox.demo.screen import REJECTED
from sandbox.demo.shop import Place
from sandbox.demo.trials import Observation, Trial
from troth.edge.events.attributes import write_time
from troth.edge.events.consumption.dead_letters import DeadLetter, DeadLetterReader
from troth.edge.events.consumption.flow import Consumed, Outcome
from troth.edge.events.message import Message, Sealed
from troth.edge.events.rejection import Reason, Rejection

QUEUED = 120
"""Seconds for which an order waited before it is published."""


class Explained(NamedTuple):
    """Exit code and output of `troth event explain`."""

    code: int
    output: str


@dataclass
class Scene:
    """Checkout, fulfilment, and payments, whose key an attacker has; and what has happened so far.

    `genuine` is the order that fulfilment accepted, `published` are the messages that it must
    reject, and `letters` the dead letters.
    """

    exchange: Exchange
    got: Fulfilment
    parties: dict[Place, Party]
    genuine: Sealed = field(init=False)
    published: list[Sealed] = field(default_factory=list)
    letters: list[Message] = field(default_factory=list)
    _seen: int = 0

    def actor(self, place: Place) -> str:
        """Return the SPIFFE ID of a service."""
        return self.parties[place].identity.current.spiffe_id

    def next_outcome(self) -> Consumed:
        """Return what fulfilment does with the next message."""
        self._seen += 1
        self.exchange.consume(self._seen)
        return self.got.outcomes[self._seen - 1]

    def letter_of(self, origin: str) -> tuple[Message, DeadLetter | Rejection]:
        """Return the dead letter of a message, or else the next one that cannot be verified."""
        for message in self.letters:
            letter = self.read(message)
            if isinstance(letter, DeadLetter) and letter.origin == origin:
                return message, letter
        while True:
            message = self.exchange.dead_letter()
            self.letters.append(message)
            letter = self.read(message)
            if isinstance(letter, Rejection) or letter.origin == origin:
                return message, letter

    def read(self, message: Message) -> DeadLetter | Rejection:
        """Verify a dead letter of fulfilment."""
        return DeadLetterReader(self.parties[FULFILMENT].identity, POLICY).read(message)

    def is_published(self, message: Message) -> bool:
        """Return whether a message is one of those that fulfilment must reject, unchanged."""
        return any(
            (each.attributes, each.data) == (message.attributes, message.data)
            for each in self.published
        )


def accepted(scene: Scene) -> Iterator[Trial]:
    """Yield the order that fulfilment accepts."""

    def attempt() -> Observation:
        scene.genuine = scene.exchange.order(order("1001", "a book"), **CONTEXT)
        outcome = scene.next_outcome()
        if not scene.got.events:
            return Observation({"outcome": outcome.outcome}, (REJECTED,), str(outcome.rejection))
        event = scene.got.events[-1]
        facts = {
            "outcome": outcome.outcome,
            "actor": event.actor,
            "subject": event.subject,
            "tenant": event.tenant,
            "order": event.payload["order"],
        }
        cells = (f"order {event.payload['order']}, from {event.subject} of {event.tenant}",)
        return Observation(facts, cells, f"sealed by {event.actor}")

    expected = {"actor": scene.actor(CHECKOUT), **CONTEXT, "order": "1001"}
    yield Trial(
        CHECKOUT.name,
        "places the order of alice, of the tenant acme",
        {"outcome": Outcome.HANDLED, **expected},
        attempt,
    )


def forgeries(scene: Scene) -> Iterator[Trial]:
    """Yield messages that the broker accepts from checkout, and fulfilment rejects."""
    own, other = (scene.parties[place].identity for place in (CHECKOUT, PAYMENTS))
    genuine = scene.genuine
    for action, reason, make in (
        ("publishes without a seal", Reason.UNSIGNED, partial(unsealed, genuine)),
        (
            *("changes the tenant after sealing", Reason.SIGNATURE_INVALID),
            partial(edited, genuine, trothtenant="globex"),
        ),
        (
            *("seals in its name with the key of payments", Reason.SIGNATURE_INVALID),
            partial(forged, other, genuine),
        ),
        (
            *("seals as payments, with its key", Reason.PRODUCER_NOT_GRANTED),
            partial(forged, other, genuine, source=scene.actor(PAYMENTS)),
        ),
        (
            *("seals for another policy", Reason.WRONG_POLICY),
            partial(forged, own, genuine, trothpolicy="shop/refunds"),
        ),
        (
            *(f"seals for {OTHER_TOPIC}", Reason.WRONG_TOPIC),
            partial(forged, own, genuine, trothtopic=OTHER_TOPIC),
        ),
        (
            *("seals without a tenant", Reason.CONTEXT_MISSING),
            partial(forged, own, genuine, trothtenant=None),
        ),
        (
            *("seals an order without items", Reason.SCHEMA_INVALID),
            partial(forged, own, genuine, order("1002")),
        ),
        (
            *("dates it back, as with a stolen old key", Reason.TIME_MISMATCH),
            partial(forged, own, genuine, time=first_second(genuine)),
        ),
        ("publishes the accepted order again", Reason.DUPLICATE, lambda: genuine),
    ):
        yield rejected(scene, action, reason, make)


def failing(scene: Scene) -> Iterator[Trial]:
    """Yield a valid order with which fulfilment's handler fails."""

    def publish() -> Sealed:
        return scene.exchange.order(order("1003", SOLD_OUT), **CONTEXT)

    yield judged(scene, "orders what is sold out", Reason.HANDLER_FAILED, publish)


def expired(scene: Scene) -> Iterator[Trial]:
    """Yield an order that is older than the policy's new maximum age."""
    own = scene.parties[CHECKOUT].identity
    yield rejected(
        scene,
        f"publishes an order of {QUEUED} s ago",
        Reason.EXPIRED,
        lambda: forged(own, scene.genuine, time=write_time(int(time()) - QUEUED)),
    )


def revoked(scene: Scene, queue: list[Sealed]) -> Iterator[Trial]:
    """Yield the orders that checkout published before it lost its grant."""
    for number, sealed in enumerate(queue, 1):
        action = f"order {number} of {len(queue)}, published before"
        yield judged(scene, action, Reason.PRODUCER_NOT_GRANTED, partial(_same, sealed))


def rejected(scene: Scene, action: str, reason: Reason, make: Callable[[], Sealed]) -> Trial:
    """Return the trial of a message that is published with checkout's credential."""

    def publish() -> Sealed:
        sealed = make()
        scene.exchange.publish(sealed)
        return sealed

    return judged(scene, action, reason, publish)


def judged(scene: Scene, action: str, reason: Reason, publish: Callable[[], Sealed]) -> Trial:
    """Return a trial: fulfilment must reject the message for the reason, with a dead letter."""

    def attempt() -> Observation:
        handled = len(scene.got.events)  # before it is published: fulfilment consumes meanwhile
        scene.published.append(publish())
        outcome = scene.next_outcome()
        facts: dict[str, object] = {
            "outcome": outcome.outcome,
            "reason": outcome.rejection.reason if outcome.rejection else "",
            "handled": len(scene.got.events) > handled,
        }
        if outcome.rejection is None or outcome.outcome is not Outcome.DEAD_LETTERED:
            return Observation(facts, ("accepted", ""))
        message, letter = scene.letter_of(outcome.origin)
        facts["dead letter"] = (
            letter.rejection.reason if isinstance(letter, DeadLetter) else str(letter)
        )
        cells = (f"{REJECTED}: {outcome.rejection.reason}", place(message))
        return Observation(facts, cells, outcome.rejection.detail)

    expected = {"outcome": Outcome.DEAD_LETTERED, "reason": reason, "handled": False}
    return Trial(CHECKOUT.name, action, {**expected, "dead letter": reason}, attempt)


def dead_letters(scene: Scene) -> Iterator[Trial]:
    """Yield the review of all dead letters, and one that is edited."""
    consumer = scene.actor(FULFILMENT)

    def review() -> Observation:
        read = [*map(scene.read, scene.letters)]
        good = [
            letter
            for letter in read
            if isinstance(letter, DeadLetter)
            and letter.consumer == consumer
            and scene.is_published(letter.message)
        ]
        attempts = {str(each.rejection.reason): each.attempts for each in good if each.attempts}
        facts = {"verified": len(good), "attempts": attempts}
        quote = "sealed by fulfilment; each has the original message, with its seal, unchanged"
        return Observation(facts, (f"{len(good)} of {len(read)} verified",), quote)

    def edit() -> Observation:
        message = scene.letters[0]
        attributes = {**message.attributes, "trothreason": str(Reason.EXPIRED)}
        found = scene.read(replace(message, attributes=attributes))
        if isinstance(found, DeadLetter):
            return Observation({"reason": ""}, ("accepted",))
        cells = (f"{REJECTED}: {found.reason}",)
        return Observation({"reason": found.reason}, cells, found.detail)

    wanted = {"verified": len(scene.published), "attempts": {str(Reason.HANDLER_FAILED): ATTEMPTS}}
    yield Trial("owner", f"reads {DEAD_LETTERS}", wanted, review)
    yield Trial("owner", "changes a reason in a copy", {"reason": Reason.SIGNATURE_INVALID}, edit)


def explained(scene: Scene, explain: Callable[[Message], Explained]) -> Iterator[Trial]:
    """Yield the explanation of the dead letter of an event for another topic.

    `explain` runs `troth event explain`.
    """

    def attempt() -> Observation:
        done = explain(_letter(scene, Reason.WRONG_TOPIC))
        return Observation(done._asdict(), (f"exit code {done.code}",))

    # checkout has lost its grant since, and the topic is still the wrong one
    output = re.compile(rf"valid dead letter.*{Reason.PRODUCER_NOT_GRANTED}.*✗ +topic", re.DOTALL)
    yield Trial("owner", "has one explained", {"code": 1, "output": output}, attempt)


def _letter(scene: Scene, reason: Reason) -> Message:
    for message in scene.letters:
        letter = scene.read(message)
        if isinstance(letter, DeadLetter) and letter.rejection.reason is reason:
            return message
    raise DemoError(f"there is no dead letter with the reason {reason}")


def place(message: Message) -> str:
    """Return the place of a message in its topic or stream."""
    return f"{'message' if message.partition is None else 'offset'} {message.offset}"


def _same(sealed: Sealed) -> Sealed:
    return sealed
