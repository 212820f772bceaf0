"""Owned objects: Troth restores drift with one write, and reports it once.

A Secret, a NetworkPolicy or a bundle with drift is an undeclared grant, or a service that no peer
trusts.
"""

from collections import Counter

import pytest

from tests import builders
from tests.cluster.person import LONG, Manifest, condition, version
from tests.cluster.stage import DOMAIN, IDENTITY, Stage
from troth.planning.owned_objects import policy_ref, secret_ref
from troth.resources.references import Ref
from troth.world.facts.objects import MANAGED_BY, OWNER_NAME

NOTHING: Counter[str] = Counter()


def key_of(secret: Manifest) -> str:
    key: str = secret["data"]["tls.key"]
    return key


async def ready_pair(stage: Stage) -> tuple[Ref, Ref]:
    domain = await stage.domain()
    await stage.run()
    await stage.person.ready(DOMAIN, domain)
    callee, caller = await stage.pair()
    await stage.settled()
    stage.requests.clear()
    return callee, caller


WIDER: Manifest = {"spec": {"ingress": [{}]}}
NARROWER = {"spec": {"ingress": None}}


@pytest.mark.parametrize(
    "patch",
    [
        pytest.param(WIDER, id="opened to everybody"),
        pytest.param(NARROWER, id="closed to everybody"),
        pytest.param({"spec": {"podSelector": {"matchLabels": {"app": "x"}}}}, id="other pods"),
        pytest.param({"metadata": {"labels": {OWNER_NAME: "x"}}}, id="another owner's label"),
    ],
)
async def test_policy_drift_is_restored_with_one_write_and_reported_once(
    stage: Stage, patch: Manifest
) -> None:
    payments, _ = await ready_pair(stage)
    ref = policy_ref(payments)
    before = await stage.policy(payments)
    await stage.person.edit("NetworkPolicy", ref, patch)
    await stage.person.sees(
        "NetworkPolicy",
        ref,
        lambda seen: (
            seen["spec"] == before["spec"]
            and seen["metadata"]["labels"] == before["metadata"]["labels"]
        ),
    )
    await stage.settled()
    assert stage.requests.writes == Counter({"networkpolicies": 1})
    assert stage.requests.events == 1
    assert await stage.person.events(stage.shop) == [("Repaired", "payments")]


async def test_edit_costs_no_read(stage: Stage) -> None:
    payments, _ = await ready_pair(stage)
    before = await stage.policy(payments)
    await stage.person.edit("NetworkPolicy", policy_ref(payments), WIDER)
    await stage.person.sees(
        "NetworkPolicy", policy_ref(payments), lambda seen: seen["spec"] == before["spec"]
    )
    await stage.settled()
    assert stage.requests.reads == NOTHING


async def test_deleted_policy_is_restored(stage: Stage) -> None:
    payments, _ = await ready_pair(stage)
    before = await stage.policy(payments)
    await stage.person.delete("NetworkPolicy", policy_ref(payments))
    after = await stage.person.sees("NetworkPolicy", policy_ref(payments))
    await stage.settled()
    assert after["spec"] == before["spec"]
    assert stage.requests.writes == Counter({"networkpolicies": 1})
    assert await stage.person.events(stage.shop) == [("Repaired", "payments")]


@pytest.mark.parametrize(
    "patch",
    [
        pytest.param({"data": {"identity.json": "e30K"}}, id="peers emptied"),
        pytest.param({"data": {"identity.json": None}}, id="peers removed"),
        pytest.param({"data": {"ca.crt": "e30K"}}, id="roots replaced"),
        pytest.param({"metadata": {"labels": {OWNER_NAME: None}}}, id="owner's label removed"),
    ],
)
async def test_public_part_of_a_secret_is_restored_and_its_key_stays(
    stage: Stage, patch: Manifest
) -> None:
    payments, _ = await ready_pair(stage)
    before = await stage.secret(payments)
    await stage.person.edit("Secret", secret_ref(payments), patch)
    await stage.person.sees(
        "Secret",
        secret_ref(payments),
        lambda seen: (
            seen["data"] == before["data"]
            and seen["metadata"]["labels"] == before["metadata"]["labels"]
        ),
    )
    await stage.settled()
    assert stage.requests.reads == NOTHING
    assert stage.requests.writes == Counter({"secrets": 1})
    assert await stage.person.events(stage.shop) == [("Repaired", "payments")]


@pytest.mark.parametrize(
    "patch",
    [
        pytest.param({"data": {"tls.crt": "bm8gUEVN"}}, id="certificate not PEM"),
        pytest.param({"data": {"tls.crt": ""}}, id="certificate emptied"),
        pytest.param({"data": {"tls.key": "bm8gUEVN"}}, id="key not PEM"),
        pytest.param({"data": {"tls.key": ""}}, id="key emptied"),
    ],
)
async def test_damaged_certificate_or_key_is_reissued_with_a_new_key(
    stage: Stage, patch: Manifest
) -> None:
    payments, _ = await ready_pair(stage)
    before = await stage.secret(payments)
    await stage.person.edit("Secret", secret_ref(payments), patch)
    after = await stage.person.sees(
        "Secret",
        secret_ref(payments),
        lambda seen: seen["data"]["tls.crt"] not in (before["data"]["tls.crt"], "bm8gUEVN", ""),
    )
    await stage.settled()
    assert key_of(after) not in (key_of(before), "bm8gUEVN", "")
    # one write of the Secret, and one of the status, which names the new certificate
    assert stage.requests.writes == Counter({"secrets": 1, "serviceidentities": 1})
    assert stage.requests.reads == NOTHING
    assert await stage.person.events(stage.shop) == [("Reissued", "payments")]


async def test_certificate_swapped_for_a_peers_is_reissued(stage: Stage) -> None:
    payments, web = await ready_pair(stage)
    before, peers = await stage.secret(payments), await stage.secret(web)
    swapped = {"tls.crt": peers["data"]["tls.crt"], "tls.key": peers["data"]["tls.key"]}
    await stage.person.edit("Secret", secret_ref(payments), {"data": swapped})
    after = await stage.person.sees(
        "Secret",
        secret_ref(payments),
        lambda seen: key_of(seen) not in (key_of(before), key_of(peers)),
    )
    await stage.settled()
    assert after["data"]["identity.json"] == before["data"]["identity.json"]
    assert stage.requests.writes == Counter({"secrets": 1, "serviceidentities": 1})


async def test_deleted_secret_is_reissued(stage: Stage) -> None:
    payments, web = await ready_pair(stage)
    before, untouched = await stage.secret(payments), await stage.secret(web)
    await stage.person.delete("Secret", secret_ref(payments))
    after = await stage.person.sees("Secret", secret_ref(payments))
    await stage.settled()
    assert key_of(after) != key_of(before)
    assert stage.requests.writes == Counter({"secrets": 1, "serviceidentities": 1})
    assert await stage.person.events(stage.shop) == [("Reissued", "payments")]
    assert version(await stage.secret(web)) == version(untouched)


@pytest.mark.parametrize(
    "tamper",
    [
        pytest.param({"data": {"ca.crt": "nobody"}}, id="roots replaced"),
        pytest.param(None, id="deleted"),
    ],
)
async def test_bundle_is_restored(stage: Stage, tamper: Manifest | None) -> None:
    await ready_pair(stage)
    bundle = Ref(stage.shop, "trust-bundle")
    before = await stage.person.the("ConfigMap", bundle)
    if tamper is None:
        await stage.person.delete("ConfigMap", bundle)
    else:
        await stage.person.edit("ConfigMap", bundle, tamper)
    await stage.person.sees(
        "ConfigMap",
        bundle,
        lambda seen: (
            seen["data"] == before["data"]
            and seen["metadata"]["labels"] == before["metadata"]["labels"]
        ),
    )
    await stage.settled()
    assert stage.requests.writes == Counter({"configmaps": 1})
    assert stage.requests.events == 1


@pytest.mark.parametrize("kind", ["Secret", "NetworkPolicy"])
async def test_object_without_its_label_is_known_by_its_owner_and_restored(
    stage: Stage, kind: str
) -> None:
    """To a label-selected watch it looks deleted: Troth reads its owner and it once."""
    payments, _ = await ready_pair(stage)
    ref = secret_ref(payments) if kind == "Secret" else policy_ref(payments)
    before = await stage.person.the(kind, ref)
    await stage.person.edit(kind, ref, {"metadata": {"labels": {MANAGED_BY: None}}})
    labels = before["metadata"]["labels"]
    after = await stage.person.sees(kind, ref, lambda seen: seen["metadata"]["labels"] == labels)
    await stage.settled()
    assert after.get("data") == before.get("data")
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert stage.requests.reads.total() == 2
    assert stage.requests.writes.total() - len(stage.requests.failures) == 1
    assert await stage.person.events(stage.shop) == [("Repaired", "payments")]


async def test_rules_added_to_a_policy_without_rules_are_removed(stage: Stage) -> None:
    """A server-side apply leaves fields that it does not mention."""
    _, web = await ready_pair(stage)  # which accepts nobody
    assert "ingress" not in (await stage.policy(web))["spec"]
    await stage.person.edit("NetworkPolicy", policy_ref(web), WIDER)
    await stage.person.sees(
        "NetworkPolicy", policy_ref(web), lambda seen: "ingress" not in seen["spec"]
    )
    await stage.settled()
    assert stage.requests.writes == Counter({"networkpolicies": 1})


async def test_bundle_labelled_for_another_owner_is_restored(stage: Stage) -> None:
    await ready_pair(stage)
    bundle = Ref(stage.shop, "trust-bundle")
    before = await stage.person.the("ConfigMap", bundle)
    await stage.person.edit("ConfigMap", bundle, {"metadata": {"labels": {OWNER_NAME: "x"}}})
    await stage.person.sees(
        "ConfigMap",
        bundle,
        lambda seen: (
            seen["data"] == before["data"]
            and seen["metadata"]["labels"] == before["metadata"]["labels"]
        ),
    )


async def test_bundle_without_its_label_is_a_conflict_until_it_has_it_again(stage: Stage) -> None:
    """It has no owner reference to identify it, and Troth does not overwrite foreign objects."""
    await ready_pair(stage)
    domain, bundle = Ref("", stage.name), Ref(stage.shop, "trust-bundle")
    edited = await stage.person.edit(
        "ConfigMap", bundle, {"metadata": {"labels": {MANAGED_BY: None}}}
    )
    await stage.person.hears(DOMAIN, domain, "BundleDistributed", "Conflict", "False")
    await stage.settled()
    assert version(await stage.person.the("ConfigMap", bundle)) == version(edited)
    await stage.person.edit("ConfigMap", bundle, {"metadata": {"labels": {MANAGED_BY: "troth"}}})
    await stage.person.ready(DOMAIN, domain)


async def test_key_added_to_a_bundle_stays_and_troths_key_is_restored(stage: Stage) -> None:
    await ready_pair(stage)
    bundle = Ref(stage.shop, "trust-bundle")
    before = await stage.person.the("ConfigMap", bundle)
    await stage.person.edit("ConfigMap", bundle, {"data": {"other.crt": "somebody's"}})
    await stage.person.edit("ConfigMap", bundle, {"data": {"ca.crt": "nobody's"}})
    after = await stage.person.sees(
        "ConfigMap", bundle, lambda seen: seen["data"]["ca.crt"] == before["data"]["ca.crt"]
    )
    await stage.settled()
    assert after["data"]["other.crt"] == "somebody's"
    assert stage.requests.writes == Counter({"configmaps": 1})


async def test_metadata_that_others_add_to_a_secret_stays(stage: Stage) -> None:
    payments, _ = await ready_pair(stage)
    theirs = {"metadata": {"labels": {"team": "a"}, "annotations": {"note": "b"}}}
    await stage.person.edit("Secret", secret_ref(payments), theirs)
    await stage.settled()
    after = await stage.secret(payments)
    assert after["metadata"]["labels"]["team"] == "a"
    assert after["metadata"]["annotations"]["note"] == "b"
    assert stage.requests.writes == NOTHING


async def test_owned_objects_of_a_deleted_identity_go_and_its_peers_close(stage: Stage) -> None:
    payments, web = await ready_pair(stage)
    await stage.person.delete(IDENTITY, web)
    await stage.person.misses("Secret", secret_ref(web), LONG)
    await stage.person.misses("NetworkPolicy", policy_ref(web), LONG)
    await stage.person.hears(IDENTITY, payments, "PeersAgree", "PeerMissing", "False")
    assert "ingress" not in (await stage.policy(payments))["spec"]


async def test_identity_created_again_gets_a_new_secret(stage: Stage) -> None:
    payments, _ = await ready_pair(stage)
    before = await stage.secret(payments)
    await stage.person.delete(IDENTITY, payments)
    await stage.identity("payments", ports=["https"], accepts=[builders.accept("web")])
    after = await stage.person.sees(
        "Secret",
        secret_ref(payments),
        lambda seen: seen["metadata"]["uid"] != before["metadata"]["uid"],
        LONG,
    )
    ready = await stage.person.ready(IDENTITY, payments)
    assert key_of(after) != key_of(before)
    assert after["metadata"]["ownerReferences"][0]["uid"] == ready["metadata"]["uid"]
    assert condition(ready, "CertificateIssued")["status"] == "True"
