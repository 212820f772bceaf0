"""References to missing objects: a condition reports each, and it heals once the object exists.

Users apply manifests in any order, and GitOps in its own. None may need a second apply.
"""

from cryptography import x509

from tests import builders
from tests.cluster.person import version
from tests.cluster.stage import DOMAIN, IDENTITY, Stage, edge, leaf_of, opened
from tests.pki.builders import by_hand
from troth.planning.owned_objects import policy_ref, secret_ref
from troth.resources.references import Ref


async def test_missing_peer_is_reported_and_its_edge_opens_once_it_exists(
    stage: Stage,
) -> None:
    await stage.domain()
    await stage.run()
    web = await stage.identity("web", calls=[builders.call("payments")])
    said = await stage.person.hears(IDENTITY, web, "PeersAgree", "PeerMissing", "False")
    assert f"ServiceIdentity {stage.shop}/payments does not exist" in said
    waiting = await stage.person.ready(IDENTITY, web)
    assert edge(waiting, f"{stage.shop}/payments")["state"] == "AwaitingCallee"
    assert opened(await stage.policy(web), "egress") == []

    payments = await stage.identity("payments", ports=["https"])
    said = await stage.person.hears(IDENTITY, web, "PeersAgree", "NotAccepted", "False")
    assert "add it to its accepts" in said

    await stage.identity("payments", ports=["https"], accepts=[builders.accept("web")])
    await stage.person.hears(IDENTITY, web, "PeersAgree", "AllLive", "True")
    await stage.person.hears(IDENTITY, payments, "PeersAgree", "AllLive", "True")
    await stage.person.sees(
        "NetworkPolicy", policy_ref(web), lambda seen: opened(seen, "egress") == [8443]
    )
    await stage.person.sees(
        "NetworkPolicy", policy_ref(payments), lambda seen: "ingress" in seen["spec"]
    )


async def test_peer_in_another_namespace_is_found(stage: Stage) -> None:
    await stage.domain()
    other = await stage.namespace()
    await stage.run()
    web = await stage.identity("web", calls=[builders.call("ledger", namespace=other)])
    await stage.person.hears(IDENTITY, web, "PeersAgree", "PeerMissing", "False")
    accepted = [builders.accept("web", namespace=stage.shop)]
    ledger = await stage.identity("ledger", other, ports=["https"], accepts=accepted)
    await stage.person.hears(IDENTITY, web, "PeersAgree", "AllLive", "True")
    await stage.person.hears(IDENTITY, ledger, "PeersAgree", "AllLive", "True")


async def test_missing_given_authority_is_waited_for(stage: Stage) -> None:
    domain = await stage.domain(authority={"secretRef": {"name": "corporate"}})
    await stage.run()
    payments = await stage.identity("payments")
    said = await stage.person.hears(DOMAIN, domain, "AuthorityReady", "SecretMissing", "False")
    assert f"Secret {stage.own}/corporate does not exist; create it with tls.crt, tls.key" in said
    await stage.person.hears(IDENTITY, payments, "Ready", "AuthorityNotReady", "False")
    await stage.settled()
    assert await stage.person.get("Secret", secret_ref(payments)) is None

    root = by_hand("corporate root")
    await stage.person.put(
        builders.secret("corporate", stage.own, tls_crt=root.pem, tls_key=root.key_pem)
    )
    await stage.person.ready(DOMAIN, domain)
    await stage.person.ready(IDENTITY, payments)


async def test_namespace_without_the_label_is_governed_once_it_gets_it(stage: Stage) -> None:
    await stage.domain()
    await stage.run()
    unlabelled = await stage.namespace(label="nobody")
    payments = await stage.identity("payments", unlabelled)
    said = await stage.person.hears(IDENTITY, payments, "Ready", "NoTrustDomain", "False")
    assert f"no TrustDomain selects namespace {unlabelled}; label the namespace" in said
    await stage.settled()
    assert await stage.person.get("Secret", secret_ref(payments)) is None
    bundle = Ref(unlabelled, "trust-bundle")
    assert await stage.person.get("ConfigMap", bundle) is None

    await stage.person.put(builders.namespace(unlabelled, domain=stage.name))
    await stage.person.ready(IDENTITY, payments)
    await stage.person.sees("ConfigMap", bundle)


async def test_trust_domain_declared_last_takes_effect(stage: Stage) -> None:
    await stage.run()
    payments = await stage.identity("payments", ports=["https"], accepts=[builders.accept("web")])
    web = await stage.identity("web", calls=[builders.call("payments")])
    await stage.person.hears(IDENTITY, payments, "Ready", "NoTrustDomain", "False")
    domain = await stage.domain()
    await stage.person.ready(DOMAIN, domain)
    for ref in (payments, web):
        await stage.person.ready(IDENTITY, ref)
        await stage.person.hears(IDENTITY, ref, "PeersAgree", "AllLive", "True")


async def test_namespace_that_loses_its_label_loses_its_bundle_and_its_edges(
    stage: Stage,
) -> None:
    await stage.domain()
    other = await stage.namespace()
    await stage.run()
    accepted = [builders.accept("web", namespace=stage.shop)]
    ledger = await stage.identity("ledger", other, ports=["https"], accepts=accepted)
    web = await stage.identity("web", calls=[builders.call("ledger", namespace=other)])
    await stage.person.hears(IDENTITY, ledger, "PeersAgree", "AllLive", "True")
    await stage.person.ready(IDENTITY, ledger)

    await stage.person.put(builders.namespace(other, domain="nobody"))
    await stage.person.hears(IDENTITY, ledger, "Ready", "NoTrustDomain", "False")
    await stage.person.misses("ConfigMap", Ref(other, "trust-bundle"))
    await stage.person.hears(IDENTITY, web, "PeersAgree", "NoTrustDomain", "False")
    await stage.person.sees(
        "NetworkPolicy", policy_ref(web), lambda seen: opened(seen, "egress") == []
    )


async def test_service_adds_its_name_to_the_certificate_once_it_exists(stage: Stage) -> None:
    await stage.domain()
    await stage.run()
    payments = await stage.identity("payments", ports=["https"])
    await stage.person.ready(IDENTITY, payments)
    before = await stage.secret(payments)
    service = builders.service("pay", stage.shop, app="payments")
    service["spec"]["ports"] = [{"port": 443, "targetPort": 8443}]
    await stage.person.put(service)
    after = await stage.person.sees(
        "Secret", secret_ref(payments), lambda seen: version(seen) != version(before)
    )
    names = leaf_of(after).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert f"pay.{stage.shop}.svc" in names.get_values_for_type(x509.DNSName)
