"""The audit log in a stream of NATS."""

from pathlib import Path

import pytest

from tests.patience import PATIENCE
from tests.review.nats.stand import Stand
from tests.review.trail.events import Entries
from troth.review.brokers import BrokerUnavailableError

TOPIC = "prod.audit"


async def test_entries_are_stored_in_their_order_and_once(stand: Stand, tmp_path: Path) -> None:
    await stand.open()
    entries = Entries(stand.market, tmp_path, TOPIC, type="nats", stream="AUDIT")
    events = stand.topic()  # it publishes events of every topic, as `AuditTopic` uses it
    with pytest.raises(BrokerUnavailableError):
        await events.record(entries.sealed(0))  # there is no stream yet
    await stand.make("AUDIT", TOPIC)
    for number in (0, 1, 2, 2, 3):
        await events.record(entries.sealed(number))
    await events.close()
    jetstream = stand.witness.jetstream(timeout=PATIENCE)
    state = (await jetstream.stream_info("AUDIT")).state
    assert state.messages == 4
    found = [await jetstream.get_msg("AUDIT", seq=number + 1) for number in range(4)]
    assert [each.data for each in found] == [b'{"number":%d}' % number for number in range(4)]
