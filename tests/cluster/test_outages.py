"""Killed copies, an API server that is down, and a namespace deleted in the middle.

After each of them the state is as if nothing had happened: no valid credential is issued again, and
every declaration is still carried out.
"""

import asyncio
import math
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from sandbox.processes import Tether
from tests import builders
from tests.cluster.person import LONG, version
from tests.cluster.process import Process
from tests.cluster.stage import DOMAIN, IDENTITY, READS, Stage, opened
from troth.cluster.api import PAGE
from troth.planning.owned_objects import policy_ref, secret_ref
from troth.resources.references import Ref


@pytest.fixture
def tether(tmp_path: Path) -> Iterator[Tether]:
    with Tether(tmp_path / "processes") as tied:
        tied.directory.mkdir()
        yield tied


async def leading(stage: Stage, tether: Tether, name: str = "first") -> Process:
    process = Process(tether, name, stage.kubeconfig, stage.own)
    await process.ready()
    await process.leads()
    return process


# Killed


@pytest.mark.long
async def test_killed_and_restarted_copy_writes_and_issues_nothing(
    stage: Stage, tether: Tether
) -> None:
    first = await leading(stage, tether)
    domain = await stage.domain()
    payments, web = await stage.pair()
    await stage.person.ready(DOMAIN, domain)
    before = await stage.written()
    first.kill()

    second = await leading(stage, tether, "second")
    await second.visited(3)
    requests = await second.requests()
    assert await stage.written() == before
    identities = len(await stage.person.all(IDENTITY))
    assert Counter(
        {kind: number for (verb, kind), number in requests.items() if verb in READS}
    ) == {
        "trustdomains": 1,
        "messagebrokers": 1,
        "topicpolicies": 1,
        "webhookendpoints": 1,
        "deadletterreviews": 1,
        "credentialrotations": 1,
        "serviceidentities": math.ceil(identities / PAGE),
        "namespaces": 1,
        "services": 1,
        "endpointslices": 1,
        "secrets": 3,  # Troth's own, senders' keys, and those of its own namespace
        "configmaps": 3,  # Troth's own, those with schemas, and gateways' reports
        "networkpolicies": 1,
        "customresourcedefinitions": 6,
    }
    await stage.person.delete("NetworkPolicy", policy_ref(payments))
    await stage.person.sees("NetworkPolicy", policy_ref(payments))
    await stage.person.ready(IDENTITY, web)
    assert "Traceback" not in second.output


async def test_next_copy_completes_what_a_killed_one_left_half_done(
    stage: Stage, tether: Tether
) -> None:
    first = await leading(stage, tether)
    await stage.domain()
    names = [f"service-{number}" for number in range(60)]
    refs = await asyncio.gather(*(stage.identity(name) for name in names))
    await stage.person.sees("Secret", secret_ref(refs[5]))
    first.kill()
    good = {
        secret["metadata"]["name"]: version(secret)
        for secret in await stage.person.all("Secret", stage.shop)
    }
    assert good
    await leading(stage, tether, "second")
    for ref in refs:
        await stage.person.ready(IDENTITY, ref)
    after = await stage.written()
    assert {name: after["Secret", stage.shop, name] for name in good} == good


@pytest.mark.long
async def test_standby_takes_over_from_a_killed_leader(stage: Stage, tether: Tether) -> None:
    leader = await leading(stage, tether, "leader")
    await stage.domain()
    payments, _ = await stage.pair()
    standby = Process(tether, "standby", stage.kubeconfig, stage.own)
    await standby.ready()
    requests = await standby.requests()
    gets = {resource for verb, resource in requests if verb not in {"list", "watch"}}
    assert gets == {"customresourcedefinitions"}
    assert not await standby.leader()

    leader.kill()
    late = await stage.identity("late", ports=["https"])
    await stage.person.delete("NetworkPolicy", policy_ref(payments))
    await stage.person.ready(IDENTITY, late)
    await stage.person.sees("NetworkPolicy", policy_ref(payments))
    assert await standby.leader()


@pytest.mark.long
async def test_stopping_leader_hands_over_at_once(stage: Stage, tether: Tether) -> None:
    leader = await leading(stage, tether, "leader")
    await stage.domain()
    await stage.pair()
    standby = Process(tether, "standby", stage.kubeconfig, stage.own)
    await standby.ready()
    leader.stop()
    lease = await stage.person.the("Lease", Ref(stage.own, "troth-operator"))
    assert not lease["spec"].get("holderIdentity") or await standby.leader()
    await standby.leads()


async def test_only_one_of_two_copies_writes(stage: Stage) -> None:
    await stage.domain()
    leader = await stage.run()
    standby = await stage.stand_by()
    payments, _ = await stage.pair()
    await stage.person.delete("NetworkPolicy", policy_ref(payments))
    await stage.person.sees("NetworkPolicy", policy_ref(payments))
    await leader.settled()
    assert leader.requests.writes.total() > 0
    assert standby.requests.writes.total() == 0
    assert standby.requests.events == 0


# API server


@pytest.mark.long
async def test_api_server_outage_is_recovered_and_due_renewals_are_done(
    lonely_stage: Stage,
) -> None:
    """The outage lasts until its watches have failed four times on average, and the lease is lost.

    Backoff then still waits for some seconds. Its limits are tested in `tests/cluster_unit`.
    """
    stage = lonely_stage
    await stage.domain()
    await stage.run()
    payments, web = await stage.pair()
    await stage.settled()
    before, untouched = await stage.secret(payments), await stage.policy(payments)
    watches = len(stage.operator.operator.informers)
    stage.requests.clear()

    await asyncio.to_thread(stage.sandbox.stop_api_server)
    await stage.operator.saw(lambda requests: requests.unanswered("watch") >= 4 * watches)
    await stage.operator.lost_lease()  # it cannot know whether it still leads
    await stage.later(timedelta(hours=16))  # of a day: everything becomes due
    await asyncio.to_thread(stage.sandbox.start_api_server)

    after = await stage.person.sees(
        "Secret", secret_ref(payments), lambda seen: version(seen) != version(before), LONG
    )
    assert after["data"]["tls.key"] != before["data"]["tls.key"]
    await stage.identity("payments", ports=["https"])
    await stage.person.sees(
        "NetworkPolicy", policy_ref(payments), lambda seen: not opened(seen, "ingress"), LONG
    )
    await stage.person.hears(IDENTITY, web, "PeersAgree", "NotAccepted", "False")
    assert (await stage.policy(payments))["metadata"]["uid"] == untouched["metadata"]["uid"]


@pytest.mark.long
async def test_crash_of_the_api_server_costs_no_write(
    lonely_stage: Stage,
) -> None:
    stage = lonely_stage
    await stage.domain()
    await stage.run()
    payments, _ = await stage.pair()
    await stage.settled()
    before = await stage.written()
    await asyncio.to_thread(stage.sandbox.stop_api_server, grace=0)
    await stage.operator.saw(lambda requests: requests.unanswered("watch") > 0)
    await asyncio.to_thread(stage.sandbox.start_api_server)
    await stage.operator.acting()
    await stage.look_again()
    assert await stage.written() == before
    await stage.person.delete("NetworkPolicy", policy_ref(payments))
    await stage.person.sees("NetworkPolicy", policy_ref(payments))


# Namespace


@pytest.mark.long
async def test_namespace_deleted_in_the_middle_affects_no_other(stage: Stage) -> None:
    await stage.domain()
    doomed = await stage.namespace()
    await stage.run()
    accepted = [builders.accept("web", namespace=doomed)]
    payments = await stage.identity("payments", ports=["https"], accepts=accepted)
    calls = [builders.call("payments", namespace=stage.shop)]
    web = await stage.identity("web", doomed, calls=calls)
    for ref in (payments, web):
        await stage.person.hears(IDENTITY, ref, "PeersAgree", "AllLive", "True")
        await stage.person.ready(IDENTITY, ref)
    before = await stage.secret(payments)

    many = [stage.identity(f"late-{number}", doomed) for number in range(20)]
    await asyncio.gather(*many)
    await stage.person.delete("Namespace", Ref("", doomed))
    await stage.person.misses("Namespace", Ref("", doomed), LONG)

    await stage.person.hears(IDENTITY, payments, "PeersAgree", "PeerMissing", "False")
    await stage.person.sees(
        "NetworkPolicy", policy_ref(payments), lambda seen: not opened(seen, "ingress")
    )
    late = await stage.identity("late")
    await stage.person.ready(IDENTITY, late)
    await stage.person.ready(IDENTITY, payments)
    await stage.settled()  # and nothing is retried for ever
    assert (await stage.secret(payments))["data"]["tls.key"] == before["data"]["tls.key"]
    stage.requests.clear()
    await stage.look_again()
    assert stage.requests.made == []
