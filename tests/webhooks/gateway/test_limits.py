"""Rate limit of an endpoint."""

from troth.webhooks.gateway.limits import Bucket


def test_bucket_allows_one_second_at_once_and_then_its_rate() -> None:
    now = 50.0
    bucket = Bucket(4, lambda: now)
    assert [bucket.take() for _ in range(6)] == [True] * 4 + [False] * 2
    now += 0.25
    assert [bucket.take() for _ in range(2)] == [True, False]
    now += 1000
    assert [bucket.take() for _ in range(6)] == [True] * 4 + [False] * 2


def test_returned_token_can_be_taken_but_does_not_overfill() -> None:
    bucket = Bucket(2, lambda: 50.0)
    bucket.give_back()
    assert [bucket.take() for _ in range(3)] == [True, True, False]
    bucket.give_back()
    assert [bucket.take() for _ in range(2)] == [True, False]
