"""The trials of messages: declared and undeclared use of topics, and a deleted policy."""

import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from sandbox.demo.cast import CHECKOUT, FULFILMENT, SHOP
from sandbox.demo.cluster import Cluster
from sandbox.demo.messages.broker import (
    DEAD_LETTERS,
    ORDERS,
    OTHER_GROUP,
    PAYMENTS,
    Answer,
    Broker,
    Denial,
    Service,
)
from sandbox.demo.messages.stage import POLICY
from sandbox.demo.screen import REJECTED
from sandbox.demo.shop import Place
from sandbox.demo.trials import Observation, Trial

ORDER = '{"order": "1001", "items": ["a book"]}'
GROUP = "fulfilment"
SECRET = ("secret", "checkout-main", "--namespace", SHOP)
DELETE = ("delete", *POLICY)
WITHIN = 5.0
"""Seconds after which the broker must close connections or reject their messages."""
GONE_WITHIN = 15.0
"""Seconds after which nothing of a deleted policy may be left."""


def declared(services: Mapping[Place, Service]) -> Iterator[Trial]:
    """Yield declared use: an order goes from checkout to fulfilment, and one to dead letters."""
    checkout, fulfilment = services[CHECKOUT], services[FULFILMENT]
    yield accepted(
        *(CHECKOUT, f"publishes an order to {ORDERS}"),
        partial(checkout.publish, ORDERS, ORDER),
    )
    yield accepted(
        *(FULFILMENT, f"consumes the order as {GROUP}"),
        partial(fulfilment.consume, ORDERS, GROUP),
        message=ORDER,
    )
    yield accepted(
        *(FULFILMENT, f"publishes it to {DEAD_LETTERS}"),
        partial(fulfilment.publish, DEAD_LETTERS, ORDER),
    )


def undeclared(
    broker: Broker, services: Mapping[Place, Service], files: Mapping[Place, Path]
) -> Iterator[Trial]:
    """Yield undeclared use with valid credentials, then impersonation."""
    checkout, fulfilment = services[CHECKOUT], services[FULFILMENT]
    for place, action, denial, request in (
        (
            *(FULFILMENT, f"publishes to {ORDERS}", Denial.PUBLISH),
            partial(fulfilment.publish, ORDERS, ORDER),
        ),
        (
            *(FULFILMENT, f"consumes {ORDERS} as {OTHER_GROUP}", Denial.CONSUME),
            partial(fulfilment.consume, ORDERS, OTHER_GROUP),
        ),
        (
            *(CHECKOUT, f"consumes {ORDERS} as {GROUP}", Denial.CONSUME),
            partial(checkout.consume, ORDERS, GROUP),
        ),
        (
            *(CHECKOUT, f"publishes to {PAYMENTS}", Denial.PUBLISH),
            partial(checkout.publish, PAYMENTS, ORDER),
        ),
        (
            *(CHECKOUT, "logs in as fulfilment with its own secret", Denial.LOGIN),
            partial(broker.log_in, files[CHECKOUT], files[FULFILMENT]),
        ),
    ):
        yield rejected(place, action, broker.denials[denial], request)


def deleted(cluster: Cluster, broker: Broker, checkout: Service, files: Path) -> Iterator[Trial]:
    """Yield what checkout tries after its policy is deleted, with the files that it still has."""
    yield rejected(
        *(CHECKOUT, "uses its open connection", "", checkout.use_connection), within=WITHIN
    )
    yield rejected(
        *(CHECKOUT, "logs in again", broker.denials[Denial.LOGIN]),
        *(partial(broker.log_in, files), GONE_WITHIN),
    )
    for what in (POLICY, SECRET):
        yield Trial(
            "kubectl",
            f"get {' '.join(what)}",
            {"found": ""},
            partial(_found, cluster, what),
            GONE_WITHIN,
        )


def accepted(place: Place, action: str, request: Callable[[], Answer], message: str = "") -> Trial:
    """Return a trial that the broker must accept, and answer with `message` if there is one."""
    expected = {"rejected": False} | ({"words": message} if message else {})
    return Trial(place.name, action, expected, lambda: _observed(request()))


def rejected(
    place: Place, action: str, pattern: str, request: Callable[[], Answer], within: float = 0
) -> Trial:
    """Return a trial that the broker must reject with certain words."""
    expected = {"rejected": True, "words": re.compile(pattern)}
    return Trial(place.name, action, expected, lambda: _observed(request()), within)


def _found(cluster: Cluster, what: tuple[str, ...]) -> Observation:
    found = cluster.sandbox.kubectl("get", *what, "--ignore-not-found", "--output=name").strip()
    return Observation({"found": found}, ("found" if found else "not found",))


def _observed(answer: Answer) -> Observation:
    facts = {"rejected": answer.rejected, "words": answer.words}
    if answer.rejected:
        return Observation(facts, (REJECTED,), answer.words)
    return Observation(facts, (answer.words,))
