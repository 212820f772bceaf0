"""A consumer that is killed loses no message, and recognises what it has handled."""

import asyncio
import json
import sys
from pathlib import Path

import pytest

from sandbox.valkey import ValkeyServer
from tests.brokers.kafka.dying import POINTS, duplicates, note
from tests.brokers.kafka.events import KafkaMarket, drive
from tests.patience import PATIENCE

KILLED = -9


@pytest.mark.parametrize("point", POINTS)
async def test_killed_consumer_loses_nothing(
    market: KafkaMarket, valkey: ValkeyServer, tmp_path: Path, point: str
) -> None:
    # A member that returns under its name needs no rebalance, which a killed one would delay.
    market.more = {"group.instance.id": "the-only-one"}
    await market.open()
    (first,) = market.publish()
    market.inject([], b"nobody signed this")
    (last,) = market.publish()
    path = tmp_path / "handled"
    path.touch()
    given = {
        "identity": str(market.market.fulfilment.identity.path),
        "bundle": str(market.market.fulfilment.bundle.path),
        "properties": market.properties(market.fulfilment) | market.more,
        "valkey": valkey.url,
        "group": market.market.group,
        "handled": str(path),
        "die": point,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.brokers.kafka.dying", json.dumps(given)
    )
    async with asyncio.timeout(PATIENCE):
        assert await process.wait() == KILLED

    memory = duplicates(valkey.url, market.market.group)
    with market.consumer(lambda event: note(path, event), duplicates=memory) as consumer:
        drive(consumer, lambda: last in path.read_text())
    memory.close()

    assert market.committed() == {0: 3}
    handled = path.read_text().split()
    # Between the handler and its mark nobody knows whether the work is done, so it is done again.
    assert handled == ([first] if point == "after the handler" else []) + [first, last]
    letters = market.letters()
    assert {each.origin for each in letters} == {f"{market.topic}/0@1"}
    assert len({each.id for each in letters}) == 1
    assert len(letters) <= (2 if point in {"after the dead letter", "after all"} else 1)
