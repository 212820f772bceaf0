"""The limits of a replica, divided among its workers, together allow no more than before."""

import pytest

from tests.webhooks.gateway.running import compiled, endpoint
from troth.edge.inbound.connections.limits import ConnectionLimits
from troth.serving.connection import LARGEST_BODY, MOST_BODIES
from troth.webhooks.gateway.limits import Bucket
from troth.webhooks.gateway.routes import served
from troth.webhooks.gateway.serving import LIMITS, Server


async def nothing(*_: object) -> None:
    """Serve nothing."""


@pytest.mark.parametrize("workers", [1, 2, 3, 64, 5000])
def test_connections_of_all_workers_are_at_most_those_of_one(workers: int) -> None:
    share = LIMITS.shared_by(workers)
    for whole, part in (
        (LIMITS.connections, share.connections),
        (LIMITS.handshakes, share.handshakes),
        (LIMITS.per_peer or 0, share.per_peer or 0),
    ):
        assert part >= 1
        assert part * workers <= max(whole, workers)


def test_peers_without_a_limit_have_none_in_a_worker() -> None:
    assert ConnectionLimits(per_peer=None).shared_by(2).per_peer is None


@pytest.mark.parametrize(
    ("workers", "bodies"), [(1, MOST_BODIES), (2, MOST_BODIES // 2), (16, LARGEST_BODY)]
)
def test_worker_has_room_for_the_largest_body(workers: int, bodies: int) -> None:
    assert Server(nothing, "127.0.0.1", 0, workers=workers)._admitting.most_bodies == bodies


def test_requests_per_second_are_divided() -> None:
    document = endpoint(limits={"body": 4096, "requestsPerSecond": 50})
    assert served(compiled(document), 4).bucket.rate == 12.5


def test_share_of_less_than_one_a_second_still_allows_one() -> None:
    now = 50.0
    bucket = Bucket(0.5, lambda: now)
    assert [bucket.take() for _ in range(2)] == [True, False]
    now += 1
    assert not bucket.take()
    now += 1
    assert [bucket.take() for _ in range(2)] == [True, False]
