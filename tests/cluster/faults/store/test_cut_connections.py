"""Connections to the API server end anywhere: within a request, an answer, a watch or a handshake.

A load balancer does that, and an API server that spreads its load or shuts down. Its GOAWAY
(`--goaway-chance`) is for HTTP/2 alone (apiserver/pkg/server/filters/goaway.go). Troth uses
HTTP/1.1, so it only meets the end of connections; `make campaign` sets the flag all the same.
"""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from hypothesis import settings

from sandbox.cluster import named_kubeconfig
from sandbox.faults import Relay
from tests.cluster.faults.store.routes import another_server, kubeconfig_through
from tests.cluster.stage import DOMAIN, GIVEN_UP, IDENTITY, Stage
from tests.cluster.witness import Witness, each_got_one_certificate, inbound_turns
from troth.planning.owned_objects import policy_ref

THOROUGH = settings.get_current_profile_name() == "thorough"
SEEDS = range(20 if THOROUGH else 1)
IDENTITIES = 40 if THOROUGH else 8
SHORTEST, LONGEST = 3_000, 100_000
"""Bytes of a connection. The TLS handshake takes some 3,000, and a Secret some 8,000."""
WRITES = 3
"""Writes that an identity costs: its Secret, its NetworkPolicy and its status."""
OTHER_WRITES = 30
"""More writes than the trust domain and the changes of the edge cost."""


@asynccontextmanager
async def cut_at_random(stage: Stage, seed: int) -> AsyncIterator[Relay]:
    """Run the operator on connections that end after a random number of bytes."""
    chance = random.Random(seed)
    async with AsyncExitStack() as stack:
        port = stage.sandbox.control_plane.port
        if THOROUGH:
            server = another_server(stage, "goaway", "--goaway-chance=0.02")  # the most allowed
            port = await stack.enter_async_context(server)
        relay = Relay(0, port, lambda: chance.randint(SHORTEST, LONGEST))
        await stack.enter_async_context(relay)
        copy = await stage.run(kubeconfig_through(stage, relay))
        stack.push_async_callback(copy.stop)
        yield relay


@pytest.mark.skipif(named_kubeconfig() is not None, reason="the port of the API server is unknown")
@pytest.mark.parametrize("seed", SEEDS)
async def test_cut_connections_lose_and_repeat_no_write(stage: Stage, seed: int) -> None:
    domain = await stage.domain()
    kubeconfig = stage.sandbox.kubeconfig
    async with (
        Witness(kubeconfig, "Secret", stage.shop) as issued,
        Witness(kubeconfig, "NetworkPolicy", stage.shop) as policies,
        cut_at_random(stage, seed) as relay,
    ):
        payments, web = await stage.pair()
        names = [f"service-{number}" for number in range(IDENTITIES)]
        others = await asyncio.gather(*map(stage.identity, names))
        for ref in others:
            await stage.person.ready(IDENTITY, ref)
        await stage.person.ready(DOMAIN, domain)
        await stage.identity("payments", ports=["https"])  # accepts nobody any more
        await stage.closes(payments)
        await stage.person.hears(IDENTITY, web, "PeersAgree", "NotAccepted", "False")

        made, cuts = stage.requests, relay.cuts
        assert cuts, "no connection was cut"
        failed = Counter(outcome for _, _, outcome in made.made if not outcome.isdigit())
        del failed[GIVEN_UP]
        assert failed.total() <= cuts, failed
        assert made.writes.total() <= WRITES * (IDENTITIES + 2) + OTHER_WRITES + WRITES * cuts

        relay.length = lambda: None
        relay.cut()
        await stage.settled()
        made.clear()
        await stage.look_again()
        assert made.made == []
        each_got_one_certificate(await issued.everything(), 2 + IDENTITIES)
        turns = inbound_turns(await policies.everything(), policy_ref(payments).name)
        assert turns in ([[8443], []], [[], [8443], []]), "the edge opened again"
