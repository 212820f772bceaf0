"""A worker that is killed again and again at a real NATS: each message once, or reported."""

from collections import Counter
from pathlib import Path

import pytest

from sandbox.brokers.nats import account_creds
from tests.patience import PATIENCE
from tests.review.following import read_all
from tests.review.kills import LETTERS, Campaign
from tests.review.nats.stand import RETRY, Stand
from troth.edge.events.redrive import read as read_redrive
from troth.review.nats.topic import NatsTopic

WINDOWS = {"remembers": 2 * PATIENCE, "forgets": 0.1}
"""Seconds in which the stream recognises a repeated message; 0.1 is the server's minimum."""


@pytest.mark.long
@pytest.mark.parametrize("stream", WINDOWS)
async def test_killed_worker_delivers_each_message_once_or_reports_it(
    stand: Stand, tmp_path: Path, stream: str
) -> None:
    await stand.open()
    await stand.make("RETRY", RETRY, duplicate_window=WINDOWS[stream])
    letters = [stand.bury() for _ in range(LETTERS)]
    await stand.store(*letters)
    campaign = Campaign(tmp_path, stand.reviewer, {"credentials": _credentials(stand, tmp_path)})
    await campaign.run()
    arrived = await _redrives(stand)
    twice = campaign.check([each.attributes["id"] for each in letters], arrived)
    assert stream == "forgets" or not twice


def _credentials(stand: Stand, path: Path) -> str:
    """Write the credential files of a user who may do everything, as Troth does."""
    server, broker = stand.stage.server, stand.reader().entry.broker
    directory = path / "credentials" / broker.replace("/", ".", 1)
    directory.mkdir(parents=True)
    files = {
        "servers": server.url,
        "ca.crt": server.ca(),
        "inbox.prefix": "_INBOX",
        "user.creds": account_creds("reviewer", stand.stage.account),
    }
    for name, content in files.items():
        (directory / name).write_text(content)
    return str(directory.parent)


async def _redrives(stand: Stand) -> Counter[str]:
    """Return how often each redrive is in the stream of the retry topic."""
    topic = NatsTopic("RETRY", RETRY, stand.topic()._connect, lambda _: None)
    found = await read_all(topic)
    await topic.close()
    return Counter(read_redrive(each.message.attributes["trothredrive"])["id"] for each in found)
