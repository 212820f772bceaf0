"""Keys of deliveries, and marks that the store could not make at once."""

import pytest

from tests.replay.stores import LEASE, WINDOW, Away, claimed, new
from tests.webhooks.gateway.running import until
from troth.replay.store import Repeated, StoreUnavailableError
from troth.webhooks.gateway.replay.commit import RetryingStore
from troth.webhooks.gateway.replay.key import replay_key


def test_replay_key_depends_on_endpoint_and_delivery() -> None:
    assert len({replay_key("a", b"1"), replay_key("b", b"1"), replay_key("a", b"2")}) == 3


async def test_failed_mark_counts_at_once_and_is_made_later() -> None:
    store = Away()
    marking = RetryingStore(store)
    claim = await claimed(marking, new())
    store.away = True
    await marking.done(claim, WINDOW)
    assert await marking.claim(claim.key, LEASE) is Repeated.DONE
    with pytest.raises(StoreUnavailableError):
        await marking.claim(new(), LEASE)
    store.away = False
    await until(lambda: not marking.pending)
    assert await store.claim(claim.key, LEASE) is Repeated.DONE
    await marking.close()


async def test_pending_marks_are_made_before_the_end() -> None:
    store = Away()
    marking = RetryingStore(store)
    claim = await claimed(marking, new())
    store.away = True
    await marking.done(claim, WINDOW)
    store.away = False
    await marking.close()
    assert await store.claim(claim.key, LEASE) is Repeated.DONE


async def test_too_many_pending_marks_reject_deliveries() -> None:
    store = Away()
    marking = RetryingStore(store, most=2)
    claims = [await claimed(marking, new()) for _ in range(2)]
    store.away = True
    for claim in claims:
        await marking.done(claim, WINDOW)
    store.away = False
    with pytest.raises(StoreUnavailableError, match="too many"):
        await marking.claim(new(), LEASE)
    await until(lambda: not marking.pending)
    await claimed(marking, new())
    await marking.close()


async def test_claim_that_cannot_be_released_lapses() -> None:
    store = Away()
    marking = RetryingStore(store)
    claim = await claimed(marking, new())
    store.away = True
    await marking.release(claim)
    store.away = False
    assert await marking.claim(claim.key, LEASE) is Repeated.IN_FLIGHT
    await marking.close()
