"""etcd is full: it raises its NOSPACE alarm, and rejects all writes until a person makes room.

The lease cannot be renewed either, so no replica writes, and only logs and metrics can say why.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import settings
from structlog.testing import capture_logs

from tests import builders
from tests.cluster.person import Refused
from tests.cluster.stage import DOMAIN, IDENTITY, Stage, opened
from tests.cluster.witness import Witness, each_got_one_certificate
from troth.cluster.errors import STORE_FULL
from troth.planning.owned_objects import policy_ref
from troth.resources.references import Ref

THOROUGH = settings.get_current_profile_name() == "thorough"
ROUNDS = 4 if THOROUGH else 1
FULL_FOR = 60.0 if THOROUGH else 1.0
"""Seconds for which etcd stays full after the operator has lost its lease."""
QUOTA = 8 * 2**20
WRITES = ("create", "apply", "patch")
MOST_REQUESTS = 60
"""More requests than the backoffs of a few keys allow before the lease is lost."""


async def rewrite(stage: Stage) -> None:
    """Write one object again and again; etcd keeps each state of it."""
    filler = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "filler", "namespace": stage.own},
    }
    for _ in range(2 * QUOTA // 10**6):
        await stage.person.put({**filler, "data": {"text": secrets.token_hex(500_000)}})


@asynccontextmanager
async def full(stage: Stage) -> AsyncIterator[None]:
    """Let etcd be full."""
    with pytest.raises(Refused, match="database space exceeded"):
        await rewrite(stage)
    try:
        yield
    finally:
        await asyncio.to_thread(stage.sandbox.control_plane.store.make_room)


async def pair(stage: Stage, number: int) -> tuple[Ref, Ref]:
    """Declare a caller and a callee that consent, and wait until both are ready."""
    names = f"callee-{number}", f"caller-{number}"
    accepts, calls = [builders.accept(names[1])], [builders.call(names[0])]
    callee = await stage.identity(names[0], ports=["https"], accepts=accepts)
    caller = await stage.identity(names[1], calls=calls)
    for ref in (callee, caller):
        await stage.person.hears(IDENTITY, ref, "PeersAgree", "AllLive", "True")
        await stage.person.ready(IDENTITY, ref)
    return callee, caller


@pytest.mark.long
async def test_operator_waits_for_room_and_says_so(lonely_stage: Stage) -> None:
    stage = lonely_stage
    domain = await stage.domain()
    await stage.run()
    await stage.person.ready(DOMAIN, domain)
    await asyncio.to_thread(stage.sandbox.control_plane.store.limit, QUOTA)
    async with Witness(stage.sandbox.kubeconfig, "Secret", stage.shop) as issued:
        for number in range(ROUNDS):
            # another one each time, because repairs of the same object wait longer each time
            callee, _ = await pair(stage, number)
            await stage.settled()
            stage.requests.clear()
            with capture_logs() as logs:
                async with full(stage):
                    await stage.person.delete("NetworkPolicy", policy_ref(callee))
                    await stage.operator.lost_lease()
                    await asyncio.sleep(FULL_FOR)
            told = {each["event"] for each in logs if each.get("reason") == STORE_FULL}
            assert "lease not acquired" in told
            assert len(stage.requests.made) < MOST_REQUESTS, "a storm of retries"
            codes = {code for verb, _, code in stage.requests.failures if verb in WRITES}
            assert not any(code.isdigit() for code in codes), "an error that does not say why"

            await stage.person.sees(
                "NetworkPolicy", policy_ref(callee), lambda seen: opened(seen, "ingress") == [8443]
            )
            late = await stage.identity(f"late-{number}")
            for ref in (callee, late):
                await stage.person.ready(IDENTITY, ref)
            await stage.settled()
            stage.requests.clear()
            await stage.look_again()
            assert stage.requests.made == []
        each_got_one_certificate(await issued.everything(), 3 * ROUNDS)
