"""As many requests a second as the endpoint says."""

from troth.webhooks.gateway.limits import Bucket


def test_a_bucket_gives_a_seconds_worth_at_once_and_then_as_it_fills() -> None:
    now = 50.0
    bucket = Bucket(4, lambda: now)
    assert [bucket.take() for _ in range(6)] == [True] * 4 + [False] * 2
    now += 0.25
    assert [bucket.take() for _ in range(2)] == [True, False]
    now += 1000
    assert [bucket.take() for _ in range(6)] == [True] * 4 + [False] * 2


def test_what_is_given_back_can_be_taken_and_makes_it_no_more_than_full() -> None:
    bucket = Bucket(2, lambda: 50.0)
    bucket.give_back()
    assert [bucket.take() for _ in range(3)] == [True, True, False]
    bucket.give_back()
    assert [bucket.take() for _ in range(2)] == [True, False]
