"""Resources with a deletionTimestamp that a finalizer still holds: they open nothing.

A finalizer of another program may hold an object for days. Nobody may use that time to keep, or to
open, an edge that the deletion was meant to close.
"""

import base64
import json
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from tests import builders
from tests.cluster.person import Manifest, condition
from tests.cluster.stage import DOMAIN, IDENTITY, Stage, edge, leaf_of, opened
from troth.planning.owned_objects import policy_ref, secret_ref
from troth.resources.references import Ref

HOLD = "example.com/hold"
DENIED = {"podSelector": {"matchLabels": {"app": "payments"}}, "policyTypes": ["Ingress", "Egress"]}
OPENED_BY_HAND: Manifest = {"spec": {"ingress": [{}], "egress": [{}]}}


@pytest.fixture
async def holding(stage: Stage) -> AsyncIterator[Stage]:
    """Yield a stage whose held resources are released at the end, so that it can be cleaned up."""
    yield stage
    for domain in stage.domains:
        await _release(stage, DOMAIN, Ref("", domain))
    for namespace in stage.namespaces:
        for each in await stage.person.all(IDENTITY, namespace):
            await _release(stage, IDENTITY, Ref.of(each))


async def _release(stage: Stage, kind: str, ref: Ref) -> None:
    if await stage.person.get(kind, ref) is not None:
        await stage.person.edit(kind, ref, {"metadata": {"finalizers": None}})


async def _delete_held(stage: Stage, kind: str, ref: Ref) -> Manifest:
    """Delete a resource that another program's finalizer holds; return it once Troth reports it."""
    await stage.person.edit(kind, ref, {"metadata": {"finalizers": [HOLD]}})
    await stage.settled()
    stage.requests.clear()
    await stage.person.delete(kind, ref)
    message = await stage.person.hears(kind, ref, "Ready", "Terminating", "False")
    assert HOLD in message
    return await stage.person.the(kind, ref)


async def _terminating_payments(stage: Stage) -> tuple[Ref, Ref]:
    """Return a callee that is being deleted, with an unverified peer, and its caller."""
    domain = await stage.domain()
    await stage.run()
    await stage.person.ready(DOMAIN, domain)
    payments = await stage.identity(
        "payments",
        ports=["https"],
        accepts=[builders.accept("web"), builders.unverified(cidrs=["203.0.113.0/24"])],
    )
    web = await stage.identity("web", calls=[builders.call("payments")])
    for ref in (payments, web):
        await stage.person.hears(IDENTITY, ref, "PeersAgree", "AllLive", "True")
        await stage.person.ready(IDENTITY, ref)
    assert opened(await stage.policy(payments), "ingress")
    await _delete_held(stage, IDENTITY, payments)
    return payments, web


async def test_edges_of_a_terminating_identity_close_on_both_sides(holding: Stage) -> None:
    payments, web = await _terminating_payments(holding)
    await holding.settled()
    seen = edge(await holding.person.the(IDENTITY, web), str(payments))
    assert (seen["state"], seen["reason"]) == ("AwaitingCallee", "PeerTerminating")
    assert opened(await holding.policy(web), "egress") == []
    document = (await holding.secret(web))["data"]["identity.json"]
    assert json.loads(base64.b64decode(document))["calls"] == []
    own = (await holding.secret(payments))["data"]["identity.json"]
    assert json.loads(base64.b64decode(own))["accepts"] == []
    assert (await holding.policy(payments))["spec"] == DENIED


async def test_terminating_identity_costs_it_three_writes_and_its_peer_three(
    holding: Stage,
) -> None:
    await _terminating_payments(holding)
    await holding.settled()
    assert holding.requests.reads == Counter()
    assert holding.requests.writes == Counter(
        {"secrets": 2, "networkpolicies": 2, "serviceidentities": 2}
    )


async def test_rule_added_to_a_terminating_identitys_policy_is_removed(holding: Stage) -> None:
    payments, _ = await _terminating_payments(holding)
    await holding.settled()
    await holding.person.edit("NetworkPolicy", policy_ref(payments), OPENED_BY_HAND)
    await holding.person.sees(
        "NetworkPolicy", policy_ref(payments), lambda seen: seen["spec"] == DENIED
    )


async def test_deleted_policy_of_a_terminating_identity_is_restored(holding: Stage) -> None:
    payments, _ = await _terminating_payments(holding)
    await holding.settled()
    before = await holding.policy(payments)
    await holding.person.delete("NetworkPolicy", policy_ref(payments))
    after = await holding.person.sees("NetworkPolicy", policy_ref(payments))
    assert after["metadata"]["uid"] != before["metadata"]["uid"]
    assert after["spec"] == DENIED


async def test_certificate_of_a_terminating_identity_is_not_issued_again(
    holding: Stage,
) -> None:
    payments, _ = await _terminating_payments(holding)
    await holding.settled()
    leaf = leaf_of(await holding.secret(payments))
    await holding.later(timedelta(hours=23))
    await holding.look_again()
    assert leaf_of(await holding.secret(payments)) == leaf
    await holding.person.delete("Secret", secret_ref(payments))
    await holding.settled()
    await holding.look_again()
    assert await holding.person.get("Secret", secret_ref(payments)) is None
    said = condition(await holding.person.the(IDENTITY, payments), "CertificateIssued")
    assert said["reason"] == "Terminating"


async def test_restart_writes_nothing_for_a_terminating_identity(holding: Stage) -> None:
    await _terminating_payments(holding)
    await holding.settled()
    before = await holding.written()
    await holding.operator.stop()
    await holding.run()
    await holding.settled()
    assert holding.requests.writes == Counter()
    assert await holding.written() == before


async def test_owned_objects_of_a_terminating_identity_are_deleted_with_it(holding: Stage) -> None:
    payments, _ = await _terminating_payments(holding)
    await holding.settled()
    await _release(holding, IDENTITY, payments)
    await holding.person.misses(IDENTITY, payments)
    await holding.person.misses("NetworkPolicy", policy_ref(payments))
    await holding.person.misses("Secret", secret_ref(payments))


async def test_edges_of_a_terminating_trust_domain_close(holding: Stage) -> None:
    domain = await holding.domain()
    await holding.run()
    await holding.person.ready(DOMAIN, domain)
    payments, web = await holding.pair()
    await _delete_held(holding, DOMAIN, domain)
    await holding.person.hears(IDENTITY, web, "Ready", "TrustDomainTerminating", "False")
    await holding.person.hears(IDENTITY, payments, "Ready", "TrustDomainTerminating", "False")
    await holding.settled()
    assert edge(await holding.person.the(IDENTITY, web), str(payments))["state"] == "Refused"
    assert opened(await holding.policy(payments), "ingress") == []
    assert opened(await holding.policy(web), "egress") == []
