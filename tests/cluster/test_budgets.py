"""Request budgets of Troth, counted by the operator's own observer.

They follow from the design: fewer requests cannot overload an API server, and fewer writes wake
fewer watchers.
"""

import asyncio
import math
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from tests import builders
from tests.cluster.stage import DOMAIN, IDENTITY, Stage
from troth.cluster.api import PAGE
from troth.resources.kinds import KINDS

NOTHING: Counter[str] = Counter()
MANY = 600  # more than a page


def pages(objects: int) -> int:
    return math.ceil(objects / PAGE)


@pytest.mark.parametrize("isolation", ["Workload", "Namespace"])
async def test_new_identity_costs_no_read_and_three_writes(stage: Stage, isolation: str) -> None:
    domain = await stage.domain(isolation=isolation)
    await stage.run()
    await stage.person.ready(DOMAIN, domain)
    await stage.settled()
    stage.requests.clear()
    identity = await stage.identity("payments", ports=["https"])
    await stage.person.ready(IDENTITY, identity)
    await stage.settled()
    assert stage.requests.reads == NOTHING
    assert stage.requests.writes == Counter(
        {"secrets": 1, "networkpolicies": 1, "serviceidentities": 1}
    )
    assert stage.requests.events == 0


async def test_new_gateway_only_identity_costs_no_read_and_three_writes(stage: Stage) -> None:
    domain = await stage.domain()
    await stage.run()
    await stage.person.ready(DOMAIN, domain)
    await stage.settled()
    stage.requests.clear()
    trust = builders.gateway_only("gateway", datetime.now(UTC) + timedelta(days=30))
    identity = await stage.identity("legacy", ports=["https"], authentication=trust)
    await stage.person.ready(IDENTITY, identity)
    await stage.settled()
    assert stage.requests.reads == NOTHING
    assert stage.requests.writes == Counter(
        {"configmaps": 1, "networkpolicies": 1, "serviceidentities": 1}
    )


async def test_reconcile_of_unchanged_state_asks_nothing(stage: Stage) -> None:
    domain = await stage.domain()
    await stage.run()
    await stage.pair()
    await stage.person.ready(DOMAIN, domain)
    await stage.settled()
    stage.requests.clear()
    await stage.look_again()
    assert stage.requests.made == []


async def test_restart_reads_each_kind_once_in_pages_and_writes_nothing(stage: Stage) -> None:
    domain = await stage.domain()
    await asyncio.gather(*(stage.identity(f"service-{number}") for number in range(MANY)))
    await stage.run()
    await stage.person.ready(DOMAIN, domain)
    await stage.settled()
    await stage.operator.stop()
    before = await stage.written()

    await stage.run()
    await stage.settled()
    identities = len(await stage.person.all(IDENTITY))
    assert identities >= MANY
    one_list_each = Counter(
        {
            "customresourcedefinitions": len(KINDS),
            "trustdomains": 1,
            "serviceidentities": pages(identities),
            "messagebrokers": 1,
            "topicpolicies": 1,
            "webhookendpoints": 1,
            "deadletterreviews": 1,
            "credentialrotations": 1,
            "namespaces": 1,
            "services": 1,
            "endpointslices": 1,
            # those of identities, those of its own namespace, and senders' keys
            "secrets": pages(MANY) + 2,
            "configmaps": 3,  # Troth's own, those with schemas, and gateways' reports
            "networkpolicies": pages(MANY),
        }
    )
    assert stage.requests.reads == one_list_each
    assert stage.requests.writes == NOTHING
    assert stage.requests.events == 0
    assert await stage.written() == before
