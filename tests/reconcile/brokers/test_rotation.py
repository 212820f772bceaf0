"""Credential rotation on a real NATS: clients that reread their Secret keep working."""

import pytest
from nats.errors import Error

from tests.brokers.nats.stage import Stage, sent
from tests.builders import rotation, stamp
from tests.reconcile.brokers.at_work import CHECKOUT, EVERY, TOPIC, AtWork, at_work, market
from troth.resources.references import Ref

ROTATION = Ref("shop", "checkout-rotation")


def phase(it: AtWork) -> str:
    status = it.server.objects["CredentialRotation", ROTATION]["status"]
    (listed,) = it.server.objects["ServiceIdentity", CHECKOUT]["status"]["brokers"]
    assert listed["phase"] == status["phase"]
    return str(status["phase"])


async def publishes(it: AtWork) -> None:
    """Start a program that reads its Secret and publishes."""
    client = await it.client(CHECKOUT)
    await client.publish(TOPIC, b"one")
    await sent(client)
    assert client.last_error is None
    await client.close()


async def test_client_that_rereads_its_secret_works_and_the_old_one_is_revoked(nats: Stage) -> None:
    async with at_work(nats, market(nats)) as it:
        old, still = it.data(CHECKOUT), await it.client(CHECKOUT)
        await it.later(EVERY)
        asked = stamp(it.running.clock.now())
        await it.put(rotation(target="checkout", requestedAt=asked))
        assert phase(it) == "Overlapping"
        await (await nats.enter(old["user.creds"], old["inbox.prefix"])).close()
        assert still.is_connected
        for _ in range(12):
            await publishes(it)
            await it.later(EVERY)
            if phase(it) == "Idle":
                break
        assert phase(it) == "Idle"
        assert it.data(CHECKOUT)["user.creds"] != old["user.creds"]
        with pytest.raises(Error):
            await nats.enter(old["user.creds"], old["inbox.prefix"])
        assert still.is_closed, "who read nothing since its start is cut"
        await publishes(it)
