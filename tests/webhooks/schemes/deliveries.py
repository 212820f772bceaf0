"""Deliveries to verify, and their verified facts."""

from collections.abc import Callable, Sequence

from troth.webhooks.schemes.delivery import Delivery, Reason, RefusedError
from troth.webhooks.schemes.scheme import Key, Scheme, Stamp, Verified

NOW = 1_700_000_000
TOLERANCE = 300
STAMP = Stamp(NOW, "delivery-1")

Change = Callable[[Delivery], Delivery]


def post(body: bytes = b"{}", target: str = "/shop/hook", **headers: str) -> Delivery:
    """A POST; underscores of the headers' names are dashes."""
    named = ((name.replace("_", "-"), value) for name, value in headers.items())
    return Delivery("POST", target.encode(), (), body).with_headers(named)


def changed(
    delivery: Delivery,
    *,
    method: str | None = None,
    body: bytes | None = None,
    target: bytes | None = None,
) -> Delivery:
    return Delivery(
        delivery.method if method is None else method,
        delivery.target if target is None else target,
        delivery.headers,
        delivery.body if body is None else body,
    )


def with_header(name: str, value: str) -> Change:
    return lambda delivery: delivery.with_headers([(name, value)])


def without(name: str) -> Change:
    def remove(delivery: Delivery) -> Delivery:
        kept = tuple(pair for pair in delivery.headers if pair[0] != name.encode())
        return Delivery(delivery.method, delivery.target, kept, delivery.body)

    return remove


def twice(name: str) -> Change:
    def repeat(delivery: Delivery) -> Delivery:
        added = tuple(pair for pair in delivery.headers if pair[0] == name.encode())
        headers = (*delivery.headers, *added)
        return Delivery(delivery.method, delivery.target, headers, delivery.body)

    return repeat


def edited(name: str, change: Callable[[str], str]) -> Change:
    return lambda delivery: delivery.with_headers([(name, change(delivery.header(name.encode())))])


def verified(scheme: Scheme, delivery: Delivery, keys: Sequence[Key], now: float = NOW) -> Verified:
    return scheme.verify(delivery, keys, now, TOLERANCE)


def refused(scheme: Scheme, delivery: Delivery, keys: Sequence[Key], now: float = NOW) -> Reason:
    """Why a delivery is refused; it fails where it is not."""
    try:
        scheme.verify(delivery, keys, now, TOLERANCE)
    except RefusedError as error:
        return error.reason
    raise AssertionError("it was let through")


def flipped(text: str) -> str:
    """The same text with another character in its middle."""
    middle = len(text) // 2
    return f"{text[:middle]}{'b' if text[middle] == 'a' else 'a'}{text[middle + 1 :]}"
