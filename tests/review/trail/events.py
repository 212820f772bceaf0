"""Sealed entries of an audit log for the tests of publishers at real brokers."""

from pathlib import Path

from tests.edge.events.market import BUNDLES, Market, issued
from tests.edge.events.trade import POLICY, published
from tests.edge.mounts import Mounts
from tests.review.trail.scene import WORKER
from troth.edge.events.message import Sealed
from troth.edge.events.sealing import Sealer
from troth.review.trail.sinks import TYPE

CONTEXT = {"require": ["Actor"], "evidence": "Producer", "maxAge": 604800}


class Entries:
    """A worker that may publish the audit log to a topic."""

    def __init__(self, market: Market, path: Path, topic: str, **entry: str) -> None:
        self.files = Mounts(path / "worker")
        entries = [published(topic=topic, schemas=[], context=CONTEXT, **entry)]
        market.write(self.files, issued(WORKER), WORKER, BUNDLES, entries)
        self.identity = market.identity(self.files)
        self._sealer = Sealer(self.identity, POLICY)

    def sealed(self, number: int) -> Sealed:
        return self._sealer.seal(b'{"number":%d}' % number, type=TYPE, id=f"log-{number}")
