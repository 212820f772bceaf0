"""Checkout and fulfilment at a real broker: the names of one test, and the real clock."""

import time
from pathlib import Path
from typing import Any

from tests.edge.events.trade import (
    CHECKOUT,
    FULFILMENT,
    Trade,
    bundle_map,
    consumed,
    leaf,
    published,
)
from tests.edge.mounts import DOMAIN, SVID
from tests.pki.builders import DAY, NOW, own_root

ROOT = own_root(which="market", now=NOW - DAY)
BUNDLES = bundle_map({DOMAIN: ROOT})


class Market(Trade):
    """A trade whose entries in `messages` have the names of one test."""

    def __init__(self, path: Path, *, topic: str, group: str, **entry: Any) -> None:
        self.topic, self.group, self.dead_letters = topic, group, f"{topic}.dlq"
        self._entry = {"topic": topic} | entry
        super().__init__(path)

    def clock(self) -> float:
        return time.time()

    def publish(self, *_: Any, **changed: Any) -> None:
        entry = published(**(self._entry | changed))
        own = issued(CHECKOUT)
        self.write(self.checkout, own, CHECKOUT, BUNDLES, [entry])

    def consume(self, **changed: Any) -> None:
        letters = {"topic": self.dead_letters, "review": "Required"}
        names = {"group": self.group, "deadLetter": letters}
        self.entries(consumed(**(self._entry | names | changed)))

    def entries(self, *entries: dict[str, Any]) -> None:
        """Write fulfilment's files with these entries in `messages`."""
        own = issued(FULFILMENT)
        self.write(self.fulfilment, own, FULFILMENT, BUNDLES, list(entries))


def issued(spiffe_id: str) -> SVID:
    """A certificate that is an hour old."""
    return leaf(spiffe_id, at=time.time() - 3600, authority=ROOT)
