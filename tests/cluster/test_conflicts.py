"""Conflicts: both sides report them, and Troth does not touch what already exists.

An operator that took sides in a conflict would hand one workload's identity to another, or
overwrite an object that somebody depends on.
"""

from datetime import timedelta

import pytest

from tests import builders
from tests.cluster.person import Manifest, Refused, version
from tests.cluster.stage import DOMAIN, IDENTITY, Stage
from troth.planning.owned_objects import FOREIGN_RETRY, deny_ref, policy_ref, secret_ref
from troth.resources.references import Ref
from troth.world.facts.objects import LIVE_PEERS, MANAGED_BY, OWNER_KIND, OWNER_NAME

SOON = FOREIGN_RETRY + timedelta(seconds=1)
CHILDREN = ("Secret", "NetworkPolicy", "ConfigMap")


@pytest.mark.parametrize(
    ("rival", "mend"),
    [
        pytest.param({"account": "payments"}, "use the same ServiceAccount payments", id="account"),
        pytest.param(
            {"pods": {"matchLabels": {"tier": "back"}}}, "can select the same pods", id="pods"
        ),
        pytest.param(
            {"pods": {"matchExpressions": [{"key": "app", "operator": "Exists"}]}},
            "can select the same pods",
            id="pods by expression",
        ),
    ],
)
async def test_two_identities_of_one_workload_both_report_it_and_get_nothing(
    stage: Stage, rival: Manifest, mend: str
) -> None:
    await stage.domain()
    await stage.run()
    payments, _ = await stage.pair()
    await stage.settled()
    before = await stage.written()

    other = await stage.identity("other", **rival)
    for ref in (payments, other):
        assert mend in await stage.person.hears(IDENTITY, ref, "Ready", "SharedIdentity", "False")
    await stage.settled()
    after = await stage.written()
    assert {key: after.get(key) for key in before if key[0] in CHILDREN} == {
        key: before[key] for key in before if key[0] in CHILDREN
    }
    assert await stage.person.get("Secret", secret_ref(other)) is None
    denying = (await stage.policy(other))["spec"]
    assert "ingress" not in denying
    assert [port["port"] for rule in denying["egress"] for port in rule["ports"]] == [53, 53]

    await stage.identity("other")
    for ref in (payments, other):
        await stage.person.ready(IDENTITY, ref)
    assert (
        version(await stage.secret(payments)) == before["Secret", stage.shop, "payments-identity"]
    )


async def test_namespace_claimed_by_two_domains_is_governed_by_neither(stage: Stage) -> None:
    domain = await stage.domain()
    await stage.run()
    payments, web = await stage.pair()
    await stage.person.ready(DOMAIN, domain)
    await stage.settled()
    before = await stage.written()

    rival = await stage.domain("-rival", domain="rival.example")
    for ref in (domain, rival):
        said = await stage.person.hears(
            DOMAIN, ref, "BundleDistributed", "NamespaceOverlap", "False"
        )
        assert f"{domain} and {rival}" in said
        assert "change a namespaceSelector or the namespace's labels" in said
    for ref in (payments, web):
        await stage.person.hears(IDENTITY, ref, "Ready", "NamespaceOverlap", "False")
    late = await stage.identity("late")
    await stage.person.hears(IDENTITY, late, "Ready", "NamespaceOverlap", "False")
    await stage.settled()
    after = await stage.written()
    assert (await stage.policy(late))["spec"]["policyTypes"] == ["Ingress", "Egress"]
    del after["NetworkPolicy", late.namespace, policy_ref(late).name]
    assert {key: version for key, version in after.items() if key[0] in CHILDREN} == {
        key: version for key, version in before.items() if key[0] in CHILDREN
    }

    await stage.person.delete(DOMAIN, rival)
    await stage.person.ready(DOMAIN, domain)
    for ref in (payments, web, late):
        await stage.person.ready(IDENTITY, ref)
    healed = await stage.written()
    untouched = [key for key in before if key[0] in CHILDREN]
    assert {key: healed[key] for key in untouched} == {key: before[key] for key in untouched}


async def test_consent_withdrawn_in_a_namespace_conflict_closes_the_edge(
    stage: Stage,
) -> None:
    """An unsettled edge stays open if it was live, but not if its consent is withdrawn."""
    await stage.domain()
    await stage.run()
    payments, web = await stage.pair()
    await stage.domain("-rival", domain="rival.example")
    await stage.person.hears(IDENTITY, payments, "Ready", "NamespaceOverlap", "False")
    assert "ingress" in (await stage.policy(payments))["spec"]
    await stage.identity("payments", ports=["https"])
    await stage.person.sees(
        "NetworkPolicy", policy_ref(payments), lambda seen: "ingress" not in seen["spec"]
    )
    await stage.person.hears(IDENTITY, web, "PeersAgree", "NotAccepted", "False")


async def test_conflict_keeps_live_ports_across_a_restart(stage: Stage) -> None:
    ports = [("https", 8443), ("admin", 9443)]
    both = ["https", "admin"]
    await stage.domain()
    await stage.run()
    web = await stage.identity("web", calls=[builders.call("a", *both)])
    a = await stage.identity("a", ports=ports, accepts=[builders.accept("web", *both)])
    await stage.person.hears(IDENTITY, a, "PeersAgree", "AllLive", "True")
    await stage.identity("rival", account="a")
    await stage.person.hears(IDENTITY, a, "Ready", "SharedIdentity", "False")
    await stage.settled()
    before = await stage.written()
    await stage.operator.stop()

    again = await stage.run()
    await stage.look_again()
    assert again.requests.writes.total() == 0
    assert await stage.written() == before
    await stage.identity("a", ports=ports, accepts=[builders.accept("web", "https")])
    await opens(stage, a, [8443, 53, 53])
    await opens(stage, web, [53, 53, 8443])


async def opens(stage: Stage, identity: Ref, wanted: list[int]) -> None:
    policy = policy_ref(identity)
    await stage.person.sees("NetworkPolicy", policy, lambda seen: numbers(seen) == wanted)


def numbers(policy: Manifest) -> list[int]:
    rules = [*policy["spec"].get("ingress", []), *policy["spec"].get("egress", [])]
    return [port["port"] for rule in rules for port in rule["ports"]]


async def test_selector_changed_in_a_conflict_has_a_second_policy_until_solved(
    stage: Stage,
) -> None:
    await stage.domain()
    await stage.run()
    payments, _ = await stage.pair()
    rival = await stage.identity("rival", account="payments")
    await stage.person.hears(IDENTITY, payments, "Ready", "SharedIdentity", "False")
    wider = {"matchExpressions": [{"key": "app", "operator": "In", "values": ["payments", "new"]}]}
    accepts = [builders.accept("web")]
    await stage.identity("payments", ports=["https"], accepts=accepts, pods=wider)
    denying = (await stage.person.sees("NetworkPolicy", deny_ref(payments)))["spec"]
    await stage.settled()
    assert denying == {"podSelector": wider, "policyTypes": ["Ingress", "Egress"]}
    kept = await stage.policy(payments)
    assert numbers(kept) == [8443, 53, 53]
    assert kept["spec"]["podSelector"]["matchLabels"] == {"app": "payments"}

    await stage.settled()
    await stage.person.delete(IDENTITY, rival)
    await stage.person.misses("NetworkPolicy", deny_ref(payments))
    assert (await stage.policy(payments))["spec"]["podSelector"] == wider


async def test_manually_edited_list_of_live_peers_is_restored(stage: Stage) -> None:
    await stage.domain()
    await stage.run()
    payments, web = await stage.pair()
    listed = (await stage.policy(payments))["metadata"]["annotations"][LIVE_PEERS]
    assert str(web) in listed

    def restored(seen: Manifest) -> bool:
        return bool(seen["metadata"].get("annotations", {}).get(LIVE_PEERS) == listed)

    for text in ("{}", None):
        edit = {"metadata": {"annotations": {LIVE_PEERS: text}}}
        await stage.person.edit("NetworkPolicy", policy_ref(payments), edit)
        await stage.person.sees("NetworkPolicy", policy_ref(payments), restored)


def foreign(kind: str, ref: Ref, **metadata: object) -> Manifest:
    content: Manifest = {
        "Secret": {"apiVersion": "v1", "stringData": {"password": "theirs"}},
        "ConfigMap": {"apiVersion": "v1", "data": {"ca.crt": "theirs"}},
        "NetworkPolicy": {
            "apiVersion": "networking.k8s.io/v1",
            "spec": {"podSelector": {}, "policyTypes": ["Ingress"]},
        },
    }[kind]
    named = {"name": ref.name, "namespace": ref.namespace, **metadata}
    return {**content, "kind": kind, "metadata": named}


@pytest.mark.parametrize(
    ("kind", "type_"), [("Secret", "CertificateIssued"), ("NetworkPolicy", "NetworkEnforced")]
)
async def test_foreign_object_of_the_wanted_name_is_not_changed(
    stage: Stage, kind: str, type_: str
) -> None:
    await stage.domain()
    ref = Ref(stage.shop, "payments-identity" if kind == "Secret" else "payments-troth")
    theirs = await stage.person.put(foreign(kind, ref))
    await stage.run()
    payments = await stage.identity("payments")
    said = await stage.person.hears(IDENTITY, payments, type_, "Conflict", "False")
    assert f"{kind} {ref} is not managed by Troth, so it was not changed" in said
    await stage.settled()
    await stage.later(SOON)  # another reconcile finds it unchanged
    await stage.settled()
    assert version(await stage.person.the(kind, ref)) == version(theirs)
    await stage.person.hears(IDENTITY, payments, "Ready", "Conflict", "False")

    await stage.person.delete(kind, ref)
    await stage.later(SOON)
    await stage.person.ready(IDENTITY, payments)


async def test_foreign_bundle_of_the_wanted_name_is_not_changed(stage: Stage) -> None:
    bundle = Ref(stage.shop, "trust-bundle")
    theirs = await stage.person.put(foreign("ConfigMap", bundle))
    domain = await stage.domain()
    other = await stage.namespace()
    await stage.run()
    said = await stage.person.hears(DOMAIN, domain, "BundleDistributed", "Conflict", "False")
    assert f"ConfigMap {bundle} is not managed by Troth" in said
    await stage.person.sees("ConfigMap", Ref(other, "trust-bundle"))  # the others get theirs
    await stage.settled()
    await stage.later(SOON)
    await stage.settled()
    assert version(await stage.person.the("ConfigMap", bundle)) == version(theirs)

    await stage.person.delete("ConfigMap", bundle)
    await stage.later(SOON)
    await stage.person.ready(DOMAIN, domain)
    await stage.person.sees("ConfigMap", bundle)


async def test_foreign_secret_of_the_roots_name_is_not_changed(stage: Stage) -> None:
    ref = Ref(stage.own, f"{stage.name}-authority")
    theirs = await stage.person.put(foreign("Secret", ref))
    await stage.run()
    domain = await stage.domain()
    payments = await stage.identity("payments")
    said = await stage.person.hears(DOMAIN, domain, "AuthorityReady", "Conflict", "False")
    assert f"Secret {ref} is not managed by Troth" in said
    await stage.person.hears(IDENTITY, payments, "Ready", "AuthorityNotReady", "False")
    await stage.settled()
    assert version(await stage.person.the("Secret", ref)) == version(theirs)

    await stage.person.delete("Secret", ref)
    await stage.person.ready(DOMAIN, domain)
    await stage.person.ready(IDENTITY, payments)


@pytest.mark.parametrize("kind", ["Secret", "NetworkPolicy"])
async def test_object_with_our_labels_and_another_owner_is_not_changed(
    stage: Stage, kind: str
) -> None:
    """Labels can be copied; the owner's UID decides."""
    await stage.domain()
    await stage.run()
    ref = Ref(stage.shop, "payments-identity" if kind == "Secret" else "payments-troth")
    labels = {MANAGED_BY: "troth", OWNER_KIND: IDENTITY, OWNER_NAME: "payments"}
    theirs = await stage.person.put(foreign(kind, ref, labels=labels))
    payments = await stage.identity("payments")
    await stage.person.hears(IDENTITY, payments, "Ready", "Conflict", "False")
    await stage.settled()
    assert version(await stage.person.the(kind, ref)) == version(theirs)
    await stage.person.delete(kind, ref)
    await stage.person.ready(IDENTITY, payments)


async def test_users_of_the_spec_cannot_write_the_status(stage: Stage) -> None:
    """The status subresource prevents a manifest from claiming to be Ready."""
    domain = await stage.domain()
    said = {
        "type": "Ready",
        "status": "True",
        "reason": "Ready",
        "lastTransitionTime": builders.stamp(builders.NOW),
    }
    await stage.person.edit(DOMAIN, domain, {"status": {"conditions": [said]}})
    stored = await stage.person.the(DOMAIN, domain)
    assert stored["status"]["observedGeneration"] == -1
    assert "conditions" not in stored["status"]
    with pytest.raises(Refused):
        await stage.person.edit(
            DOMAIN,
            domain,
            {"status": {"conditions": [{**said, "status": "Maybe"}]}},
            subresource="status",
        )
