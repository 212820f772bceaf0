"""Letters for tests, without messages."""

from datetime import UTC, datetime
from typing import Any

from troth.resources.references import Ref
from troth.review.index.portion import Portion, Settlement
from troth.review.index.store import LetterIndex
from troth.review.letters.letter import Letter, LetterState, Position

POLICY = Ref("shop", "orders")
REVIEW = Ref("shop", "orders-fix")
NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)
DOMAIN = "spiffe://prod.shop.example"


def workload(name: str) -> str:
    return f"{DOMAIN}/ns/shop/sa/{name}"


def letter(number: int = 0, **changed: Any) -> Letter:
    """Return the letter at an offset."""
    given: dict[str, Any] = {
        "id": f"id-{number}",
        "policy": POLICY,
        "position": Position(0, number),
        "time": NOON,
        "consumer": workload("fulfilment"),
        "group": "prod.fulfilment",
        "reason": "SchemaInvalid",
        "origin": f"prod.orders.v1/0@{number}",
        "attempts": 0,
        "digest": f"digest-{number}",
        "size": 26,
        "event_id": f"event-{number}",
        "producer": workload("checkout"),
        "tenant": "acme",
    }
    return Letter(**(given | changed))


def settle(
    index: LetterIndex,
    name: str,
    state: LetterState,
    review: Ref = REVIEW,
    at: datetime = NOON,
    *,
    policy: Ref = POLICY,
    uid: str | None = None,
) -> None:
    """Feed an index with one decision about a letter."""
    index.feed(policy, Portion(settlements=[Settlement(name, state, review, at, uid)]))
