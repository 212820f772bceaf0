"""Revocations that one layer cannot carry out, on a real API server."""

import base64
import json
from dataclasses import replace

import pytest

from tests import builders
from tests.cluster.faults.admission.policies import POLICIES, SECRETS, Admission, Target, denying
from tests.cluster.person import Manifest, condition
from tests.cluster.stage import IDENTITY, Stage, edge, opened
from troth.planning.owned_objects import policy_ref, secret_ref
from troth.planning.steps.authorities import DropSlots
from troth.reconcile.apply.writer import TryAgain
from troth.resources.references import Ref

WIDE, NARROW = ["read", "write"], ["read"]
CALL = [builders.call("payments", scopes=WIDE)]
DENIED = "spec.accepts may not shrink: hunter2"


async def shop(stage: Stage) -> tuple[Ref, Ref]:
    """Declare a callee that grants its caller two scopes, and wait until both are ready."""
    await stage.domain()
    await stage.run()
    callee = await accepting(stage, *WIDE)
    caller = await stage.identity("web", calls=CALL)
    for ref in (callee, caller):
        await stage.person.hears(IDENTITY, ref, "PeersAgree", "AllLive", "True")
        await stage.person.ready(IDENTITY, ref)
    return callee, caller


async def accepting(stage: Stage, *scopes: str) -> Ref:
    accepts = [builders.accept("web", scopes=list(scopes))] if scopes else []
    return await stage.identity("payments", ports=["https"], accepts=accepts)


def document(secret: Manifest) -> Manifest:
    found: Manifest = json.loads(base64.b64decode(secret["data"]["identity.json"]))
    return found


def denied(target: Target, name: str) -> Admission:
    """Return the policy that denies every write of one object."""
    return denying(replace(target, name=name), DENIED)


async def until_closed(stage: Stage, callee: Ref, caller: Ref) -> None:
    """Wait until only the callee's document still accepts the caller."""

    def is_refused(peer: Ref) -> object:
        return lambda found: edge(found, str(peer)).get("reason") == "CalleeNotNarrowed"

    for ref, peer in ((callee, caller), (caller, callee)):
        await stage.person.sees(IDENTITY, ref, is_refused(peer))  # type: ignore[arg-type]
    await stage.person.sees(
        "NetworkPolicy", policy_ref(callee), lambda found: not opened(found, "ingress")
    )
    await stage.person.sees(
        "NetworkPolicy", policy_ref(caller), lambda found: not opened(found, "egress")
    )
    await stage.person.sees(
        "Secret", secret_ref(caller), lambda found: not document(found)["calls"]
    )


async def until_open(stage: Stage, callee: Ref, caller: Ref) -> None:
    """Wait until every layer accepts the caller, with the remaining scope."""

    def is_narrow(found: Manifest) -> bool:
        ports = [port for entry in document(found)["accepts"] for port in entry["ports"]]
        return [port["scopes"] for port in ports] == [NARROW]

    await stage.person.sees("Secret", secret_ref(callee), is_narrow, 90)
    for ref in (callee, caller):
        await stage.person.hears(IDENTITY, ref, "PeersAgree", "AllLive", "True")
        await stage.person.ready(IDENTITY, ref)
    assert opened(await stage.policy(callee), "ingress")
    assert opened(await stage.policy(caller), "egress")


async def test_immutable_secret_closes_the_edge_until_it_is_replaced(stage: Stage) -> None:
    callee, caller = await shop(stage)
    await stage.person.edit("Secret", secret_ref(callee), {"immutable": True})
    await accepting(stage, *NARROW)
    told = await stage.person.hears(IDENTITY, callee, "Ready", "WriteRefused", "False")
    assert f"Secret {secret_ref(callee)} cannot be written: 422 Invalid" in told
    assert "it is immutable" in told
    await until_closed(stage, callee, caller)
    assert "write" in json.dumps(document(await stage.secret(callee))), "it cannot be narrowed"
    identity = await stage.person.the(IDENTITY, callee)
    assert identity["status"]["observedGeneration"] == identity["metadata"]["generation"]
    assert stage.operator.operator.engine.refusals.count() == {"Secret": 1}

    await stage.person.delete("Secret", secret_ref(callee))
    await until_open(stage, callee, caller)


async def test_denied_secret_update_closes_the_edge_until_it_is_allowed(stage: Stage) -> None:
    callee, caller = await shop(stage)
    async with denied(SECRETS, secret_ref(callee).name).in_force(stage, stage.shop) as policy:
        await accepting(stage, *NARROW)
        told = await stage.person.hears(IDENTITY, callee, "Ready", "WriteRefused", "False")
        assert f"ValidatingAdmissionPolicy {policy} with binding {policy} denies it" in told
        assert "hunter2" not in json.dumps(await stage.person.the(IDENTITY, callee))
        await until_closed(stage, callee, caller)

        await stage.operator.stop()
        before = await stage.written()
        await stage.run()
        copy = stage.operator
        await copy.saw(lambda asked: any(each[2] == "422" for each in asked.made))
        assert await stage.written() == before, "after a restart nothing opens"
        await until_closed(stage, callee, caller)
    await until_open(stage, callee, caller)


async def test_denied_policy_update_leaves_no_document_and_no_peer_open(stage: Stage) -> None:
    callee, caller = await shop(stage)
    name = policy_ref(callee).name
    async with denied(POLICIES, name).in_force(stage, stage.shop) as policy:
        await accepting(stage)
        told = await stage.person.hears(IDENTITY, callee, "Ready", "WriteRefused", "False")
        assert f"NetworkPolicy {policy_ref(callee)} cannot be written" in told
        assert policy in told
        await stage.person.sees(
            "Secret", secret_ref(callee), lambda found: not document(found)["accepts"]
        )
        await stage.person.sees(
            "NetworkPolicy", policy_ref(caller), lambda found: not opened(found, "egress")
        )
        assert opened(await stage.policy(callee), "ingress"), "it cannot be narrowed"
    await stage.person.sees(
        "NetworkPolicy", policy_ref(callee), lambda found: not opened(found, "ingress"), 90
    )
    await stage.person.ready(IDENTITY, callee)


async def test_json_patch_distinguishes_rejection_from_conflict(stage: Stage) -> None:
    """The API server answers 422 to both, so Troth compares the object."""
    await shop(stage)
    ref = Ref(stage.own, f"{stage.name}-authority")
    seen = (await stage.person.the("Secret", ref))["metadata"]
    executor = stage.operator.operator.engine._executor
    await stage.person.edit("Secret", ref, {"metadata": {"annotations": {"touched": "yes"}}})
    step = DropSlots(ref, seen["uid"], seen["resourceVersion"], ("tls.crt",))
    with pytest.raises(TryAgain):
        await executor.execute(step)

    await stage.person.edit("Secret", ref, {"immutable": True})
    seen = (await stage.person.the("Secret", ref))["metadata"]
    step = DropSlots(ref, seen["uid"], seen["resourceVersion"], ("tls.crt",))
    with pytest.raises(Exception, match="422 Invalid") as refusal:
        await executor.execute(step)
    assert not isinstance(refusal.value, TryAgain)


async def test_corrupted_document_is_restored_and_narrowed(stage: Stage) -> None:
    callee, _ = await shop(stage)
    spoilt = base64.b64encode(b"[" * 4096).decode()
    await stage.person.edit("Secret", secret_ref(callee), {"data": {"identity.json": spoilt}})
    await stage.person.sees("Secret", secret_ref(callee), lambda found: spoilt not in str(found))
    await accepting(stage)
    await stage.person.sees(
        "NetworkPolicy", policy_ref(callee), lambda found: not opened(found, "ingress")
    )
    ready = await stage.person.ready(IDENTITY, callee)
    assert condition(ready, "Ready")["reason"] == "InPlace"
