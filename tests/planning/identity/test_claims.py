"""Audiences and DNS names belong to the identity that claimed them first."""

from datetime import timedelta
from typing import Any

import pytest

from tests.builders import (
    DAY,
    NOW,
    Cluster,
    Manifest,
    authority_secret,
    dns_suffix,
    domain,
    identity,
    key_of,
    namespace,
    service,
    stamp,
)
from troth.planning.steps.certificates import IssueLeaf
from troth.resources.references import Ref

TEAMS = {"shop": "pay", "rival": "pay", "other": "other"}
SUFFIXES = [dns_suffix("shop.example", team="other"), dns_suffix("pay.shop.example", team="pay")]


def created(manifest: Manifest, days_ago: int) -> Manifest:
    at = stamp(NOW - days_ago * DAY)
    return {**manifest, "metadata": {**manifest["metadata"], "creationTimestamp": at}}


def named(*names: str, name: str = "payments", where: str = "shop", days_ago: int = 1) -> Manifest:
    """Return an identity with DNS names."""
    mtls = {"mtls": {"dnsNames": list(names)}}
    return created(identity(name, where, authentication=mtls), days_ago)


def heard(audience: str, name: str, where: str = "shop", days_ago: int = 1) -> Manifest:
    """Return an identity with an audience."""
    token = {"token": {"audience": audience}}
    return created(identity(name, where, authentication=token), days_ago)


def cluster(*manifests: Manifest, **certificates: Any) -> Cluster:
    return Cluster.of(
        *(namespace(name, domain="production", team=team) for name, team in TEAMS.items()),
        domain(tokens={}, certificates={"dnsNames": SUFFIXES, **certificates}),
        authority_secret(),
        *manifests,
    )


def said(of: Cluster, type_: str, name: str = "payments", where: str = "shop") -> tuple[str, str]:
    found = of.condition(key_of(name, where), type_)
    return found["reason"], found["message"]


def issued(of: Cluster, name: str = "payments", where: str = "shop") -> tuple[str, ...]:
    """Return the DNS names of the certificate that is issued now, none if none is."""
    steps = of.plan(key_of(name, where)).steps
    names = [each.profile.dns_names for each in steps if isinstance(each, IssueLeaf)]
    return names[0] if names else ()


# Audiences


def test_newer_claim_to_an_audience_is_a_conflict() -> None:
    it = cluster(heard("pay", "payments", days_ago=9), heard("pay", "a", days_ago=2)).settle()
    assert said(it, "TokensAccepted")[0] == "Accepted"
    reason, message = said(it, "TokensAccepted", "a")
    assert reason == "Conflict"
    assert message == (
        "the audience pay belongs to ServiceIdentity shop/payments, which claimed it first; "
        "declare another audience, or remove it to use the SPIFFE ID"
    )


def test_conflict_does_not_name_an_identity_of_another_namespace() -> None:
    it = cluster(heard("pay", "payments", days_ago=9), heard("pay", "a", "rival")).settle()
    reason, message = said(it, "TokensAccepted", "a", "rival")
    assert reason == "Conflict"
    assert "a ServiceIdentity of another namespace" in message
    assert "payments" not in message


def test_old_identity_cannot_take_an_accepted_claim_by_declaring_it_later() -> None:
    it = cluster(heard("pay", "payments", days_ago=2), heard("own", "a", days_ago=30)).settle()
    it.put(heard("pay", "a", days_ago=30))
    it.settle()
    assert said(it, "TokensAccepted")[0] == "Accepted"
    assert said(it, "TokensAccepted", "a")[0] == "Conflict"
    claims = it.objects["ServiceIdentity", Ref("shop", "payments")]["status"]["claims"]
    assert claims == [{"kind": "Audience", "name": "pay", "since": stamp(NOW)}]


def test_names_decide_between_claims_of_one_age() -> None:
    it = cluster(heard("pay", "b"), heard("pay", "a"))
    assert said(it, "TokensAccepted", "a")[0] == "Accepted"
    assert said(it, "TokensAccepted", "b")[0] == "Conflict"


def test_unreadable_holder_keeps_its_claims_until_it_is_deleted() -> None:
    it = cluster(heard("pay", "payments", days_ago=2)).settle()
    broken = heard("pay", "payments", days_ago=2)
    it.put({**broken, "spec": {**broken["spec"], "unheardOf": 1}})
    affected = it.put(heard("pay", "a", days_ago=30))
    it.settle()
    assert said(it, "TokensAccepted", "a")[0] == "Conflict"
    affected = it.drop("ServiceIdentity", Ref("shop", "payments"))
    assert key_of("a") in affected
    assert said(it, "TokensAccepted", "a")[0] == "Accepted"


def test_claim_ends_with_its_declaration() -> None:
    it = cluster(heard("pay", "payments", days_ago=9), heard("pay", "a")).settle()
    assert key_of("a") in it.put(heard("other", "payments", days_ago=9))
    it.settle()
    assert said(it, "TokensAccepted", "a")[0] == "Accepted"


def test_accepted_claims_are_written_once() -> None:
    it = cluster(heard("pay", "payments"), named("pay.shop.example", name="web")).settle()
    it.now += timedelta(minutes=5)
    for name in ("payments", "web"):
        made = it.plan(key_of(name))
        assert made.status == made.previous_status
        assert made.status is not None
        assert made.status["claims"]


# DNS names


def test_dns_name_under_a_suffix_of_the_namespace_is_issued() -> None:
    assert issued(cluster(named("eu.pay.shop.example"))) == ("eu.pay.shop.example",)


NOT_ALLOWED = {
    "a suffix of another team": "www.shop.example",
    "no suffix": "pay.elsewhere.example",
    "only the end of a label": "xpay.shop.example",
    "another namespace's Service": "db.other.svc",
    "the same in full": "db.other.svc.cluster.local",
    "the same, short": "db.other",
    "a pod behind it": "db-0.db.other",
    "a pod by its address": "10-0-0-1.other.pod.cluster.local",
    "a namespace that does not exist yet": "db.future.svc.cluster.local",
    "a Service of several clusters": "db.other.svc.clusterset.local",
    "a cluster of another zone": "db.other.svc.corp.example",
    "the namespace itself": "other.svc.cluster.local",
    "a Service here that does not exist": "db.shop.svc",
    "a Service here of other pods": "ledger.shop.svc.cluster.local",
    "the same, in short": "ledger.shop",
}


@pytest.mark.parametrize("name", NOT_ALLOWED.values(), ids=list(NOT_ALLOWED))
def test_dns_name_that_belongs_to_others_is_refused(name: str) -> None:
    everything = [dns_suffix(each) for each in ("other.svc", "corp.example", "future.svc")]
    it = cluster(
        service("ledger", app="ledger"),
        named(name),
        dnsNames=[*SUFFIXES, *everything, dns_suffix("svc.cluster.local"), dns_suffix("db.other")],
    )
    assert said(it, "CertificateIssued")[0] == "DNSNameNotAllowed"
    assert issued(it) == ()


@pytest.mark.parametrize(("where", "own"), [("local", "cluster"), ("cluster", "svc")])
def test_namespace_named_like_a_part_of_the_zone_gives_no_other_service(
    where: str, own: str
) -> None:
    it = cluster(
        namespace(where, domain="production"),
        service(own, where, app="payments"),
        service("ledger", where, app="ledger"),
        named(f"ledger.{where}.svc.cluster.local", where=where),
    )
    assert said(it, "CertificateIssued", where=where)[0] == "DNSNameNotAllowed"
    it.put(named(f"{own}.{where}.svc.cluster.local", where=where))
    assert f"{own}.{where}.svc.cluster.local" in issued(it, where=where)


def test_longest_suffix_decides_who_may_use_a_name() -> None:
    it = cluster(named("eu.pay.shop.example", where="other"), named("shop.example", where="other"))
    assert said(it, "CertificateIssued", where="other")[0] == "Issuing"
    it.put(named("eu.pay.shop.example", where="other"))
    reason, message = said(it, "CertificateIssued", where="other")
    assert reason == "DNSNameNotAllowed"
    assert "pay.shop.example to the namespace other" in message


@pytest.mark.parametrize("zone", ["", ".cluster.local", ".corp.example"])
def test_name_of_a_pods_address_is_not_that_of_a_service(zone: str) -> None:
    """A Service could be named like an address, and every pod with it would have the name."""
    for label in ("web", "10-0-0-7"):
        name = f"{label}.shop.pod{zone}"
        it = cluster(service(label, app="payments"), named(name), dnsNames=[dns_suffix("shop.pod")])
        message = (
            f"the DNS name {name} is that of a namespace or of a pod's address, and not of a "
            "Service; remove the name"
        )
        assert said(it, "CertificateIssued") == ("DNSNameNotAllowed", message)
        assert issued(it) == ()


def test_names_of_own_services_need_no_suffix() -> None:
    names = ("db-0.db.shop.svc", "db.shop")
    it = cluster(service("db", app="payments"), named(*names), dnsNames=[])
    assert set(names) < set(issued(it))


def test_dns_name_of_an_older_identity_is_a_conflict() -> None:
    name = "pay.shop.example"
    it = cluster(named(name, days_ago=9), named(name, name="a", where="rival")).settle()
    assert said(it, "CertificateIssued")[0] == "Issued"
    reason, message = said(it, "CertificateIssued", "a", "rival")
    assert reason == "Conflict"
    assert message == (
        "the DNS name pay.shop.example belongs to a ServiceIdentity of another namespace, which "
        "claimed it first; remove the name"
    )
    assert issued(it, "a", "rival") == ()


def test_name_claimed_without_permission_takes_it_from_nobody() -> None:
    name = "pay.shop.example"
    it = cluster(named(name, name="a", where="other", days_ago=9), named(name)).settle()
    assert said(it, "CertificateIssued")[0] == "Issued"


def test_new_namespace_takes_short_names_from_others() -> None:
    it = cluster(named("pay.future"), dnsNames=[dns_suffix("pay.future")])
    assert issued(it) == ("pay.future",)
    assert key_of() in it.put(namespace("future"))
    assert said(it, "CertificateIssued")[0] == "DNSNameNotAllowed"
    assert key_of() in it.drop("Namespace", Ref("", "future"))
    assert issued(it) == ("pay.future",)
