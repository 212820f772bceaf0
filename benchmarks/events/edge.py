"""Time to seal and to open an event of a kilobyte, on one core.

The floor of opening is one verification of the same signature over the same bytes by
`cryptography`, and the validation of the same data: `json.loads` and `jsonschema_rs`. The floor of
sealing is one signature with the same key, and the same validation. The floors compute no digests,
read no headers, and do not look for repeated members in JSON.
"""

import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

from benchmarks.events.trade import ES256, TOPIC, Trade, bare_check, order, seal
from benchmarks.harness.cores import cores, on
from benchmarks.harness.report import Comparison, Figure, Report, quantile
from benchmarks.harness.turns import Turn, compare, each_timed
from troth.edge.events.attributes import SEAL
from troth.edge.events.bindings import kafka, nats
from troth.edge.events.event import Event
from troth.edge.events.message import Message, Sealed
from troth.edge.events.seal import envelope, producers
from troth.edge.identity.svid import verify_svid

ROUNDS, TIMES = 60, 50
"""Rounds, and events of each side in each round."""
MOST = 1.6
"""Maximum ratio of an event to its floor."""
TITLE = f"Events: {ROUNDS * TIMES} of each kind, 1 KB of JSON"
NOTE = (
    "Floor: one ECDSA signature or verification over the same bytes by cryptography, json.loads, "
    "and jsonschema_rs. Every event is different. Sealing includes its ID, time and context."
)


def reports() -> Iterator[Report]:
    """Measure in this process."""
    with tempfile.TemporaryDirectory() as directory, on(cores()[0]):
        bench = _Bench(Trade.make(Path(directory)))
        rows = [
            bench.sealing("seal", lambda _: None, MOST),
            bench.opening("open", _as_message, MOST),
            bench.sealing("seal into Kafka headers", kafka.headers),
            bench.opening("open from a Kafka record", _as_record),
            bench.sealing("seal into NATS headers", nats.headers),
            bench.opening("open from a NATS message", _as_nats_message),
        ]
        yield Report(TITLE, rows, NOTE, [*_added(rows), bench.chains()])


def _added(rows: list[Comparison]) -> Iterator[Figure]:
    for row in rows[:2]:
        added = quantile(row.troth, 0.5) - quantile(row.floor, 0.5)
        yield Figure(f"added by Troth: {row.what}", added * 1e6, "µs")


class _Bench:
    """A trade with one sealer and one opener, and the floors."""

    def __init__(self, trade: Trade) -> None:
        self._trade = trade
        self._sealer, self._opener = trade.sealer(), trade.opener()
        self._check = bare_check()

    def sealing(
        self, what: str, bind: Callable[[Sealed], object], aim: float | None = None
    ) -> Comparison:
        """Compare sealing, and the headers of a binding, with a signature and a validation."""

        def sealed(data: bytes, context: dict[str, Any]) -> None:
            bind(self._sealer.seal(data, **context))

        def bare(data: bytes, signed: bytes) -> None:
            self._check(data)
            self._trade.key.sign(signed, ES256)

        def prepare() -> tuple[Turn, Turn]:
            data = [order(number) for number in range(TIMES)]
            signed = envelope.signed_bytes(envelope.material({}, b""))
            context = self._trade.context
            return (
                partial(each_timed, [partial(sealed, each, context()) for each in data]),
                partial(each_timed, [partial(bare, each, signed) for each in data]),
            )

        return _measured(what, prepare, aim)

    def opening(
        self,
        what: str,
        deliver: Callable[[Sealed], Callable[[], Message]],
        aim: float | None = None,
    ) -> Comparison:
        """Compare opening, from a binding's headers, with a verification and a validation."""
        public = self._trade.key.public_key()

        def opened(message: Callable[[], Message]) -> None:
            assert isinstance(self._opener.open(message()), Event)

        def bare(signature: bytes, signed: bytes, data: bytes) -> None:
            public.verify(signature, signed, ES256)
            self._check(data)

        def prepare() -> tuple[Turn, Turn]:
            many = [seal(self._sealer, self._trade, order(number)) for number in range(TIMES)]
            seals = [envelope.read(each.attributes[SEAL]) for each in many]
            bares = [
                partial(bare, of.signature, envelope.signed_bytes(of.payload), each.data)
                for each, of in zip(many, seals, strict=True)
            ]
            return (
                partial(each_timed, [partial(opened, deliver(each)) for each in many]),
                partial(each_timed, bares),
            )

        return _measured(what, prepare, aim)

    def chains(self) -> Figure:
        """Count how often a new opener verifies the chain of a producer of many events."""
        opener = self._trade.opener()
        with patch.object(producers, "verify_svid", wraps=verify_svid) as verify:
            for number in range(TIMES):
                message = _as_message(seal(self._sealer, self._trade, order(number)))()
                assert isinstance(opener.open(message), Event)
        return Figure(f"verifications of the chain of {TIMES} events", verify.call_count, "", 1)


def _measured(what: str, prepare: Callable[[], tuple[Turn, Turn]], aim: float | None) -> Comparison:
    for side in prepare():
        side()  # warm up
    return compare(what, ROUNDS, prepare, aim)


def _as_message(sealed: Sealed) -> Callable[[], Message]:
    headers = [(name, value.encode()) for name, value in sealed.attributes.items()]
    # The texts are new, as those of a received message: their hashes are not known yet.
    message = Message(sealed.topic, {name: each.decode() for name, each in headers}, sealed.data)
    return lambda: message


def _as_record(sealed: Sealed) -> Callable[[], Message]:
    return partial(kafka.read, TOPIC, kafka.headers(sealed), sealed.data)


def _as_nats_message(sealed: Sealed) -> Callable[[], Message]:
    return partial(nats.read, TOPIC, nats.headers(sealed), sealed.data)
