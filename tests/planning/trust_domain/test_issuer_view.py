"""The issuer's view: live edges, scopes that both sides declare, and nothing else."""

import gzip
import json
from datetime import timedelta
from typing import Any

import pytest

from tests import builders
from tests.builders import (
    NOW,
    OWN,
    Cluster,
    Manifest,
    accept,
    call,
    domain,
    gateway_only,
    identity,
    namespace,
    tokens_secret,
)
from troth.documents.token_grants import current_callers, read_grants
from troth.planning.steps.signing_keys import UpdateIssuer
from troth.planning.trust_domain.issuer.configuration import compiled
from troth.planning.trust_domain.view import gather_issuer
from troth.resources.references import Ref
from troth.world.keys import view_key
from troth.world.observation.objects import decoded
from troth.world.reader import Reader

SHOP = "spiffe://production.example/ns/shop/sa"
VIEW = view_key("production")
TOKENS = "Secret", Ref(OWN, "production-tokens")
TOKEN: Manifest = {"token": {}}


def shop(*manifests: Manifest, **spec: Any) -> Cluster:
    return Cluster.of(
        namespace("shop", domain="production"),
        domain(**{"tokens": {}, **spec}),
        builders.authority_secret(),
        *manifests,
    )


def payments(*accepts: Manifest, **spec: Any) -> Manifest:
    given = accepts or (accept("checkout", scopes=["charge", "refund"]),)
    return identity(
        ports=[("https", 8443), ("admin", 9000)],
        accepts=given,
        **{"authentication": TOKEN, **spec},
    )


def checkout(*calls: Manifest, **spec: Any) -> Manifest:
    asked = calls or (call("payments", scopes=["charge", "audit"]),)
    return identity("checkout", calls=asked, **spec)


def look(cluster: Cluster) -> dict[str, Any]:
    """Return the callers of the settled view, as the issuer reads it."""
    cluster.uptime += 60
    cluster.settle()
    data = decoded(cluster.objects[TOKENS])["view.json.gz"]
    read_grants(data)
    callers: dict[str, Any] = json.loads(gzip.decompress(data))["callers"]
    return callers


def held(cluster: Cluster, caller: str = "checkout") -> dict[str, Any]:
    """Return the audiences of a caller, those in this namespace by account name."""
    audiences = look(cluster)[f"{SHOP}/{caller}"]["audiences"]
    return {name.removeprefix(f"{SHOP}/"): each for name, each in audiences.items()}


def scopes(cluster: Cluster, caller: str = "checkout") -> list[str]:
    found: list[str] = held(cluster, caller)["payments"]["scopes"]
    return found


# Content


def test_view_lists_the_tokens_of_each_caller() -> None:
    cluster = shop(
        payments(authentication={"token": {"lifetime": "90s"}}),
        checkout(startsTransactions={"scopes": ["orders.place"], "context": ["channel"]}),
    )
    assert look(cluster) == {
        f"{SHOP}/checkout": {
            "audiences": {f"{SHOP}/payments": {"scopes": ["charge"], "lifetime": 90}},
            "startsTransactions": {"scopes": ["orders.place"], "context": ["channel"]},
        },
        f"{SHOP}/payments": {"audiences": {}},
    }
    document = json.loads(gzip.decompress(decoded(cluster.objects[TOKENS])["view.json.gz"]))
    assert {name: document[name] for name in document if name != "callers"} == {
        "version": "v1alpha1",
        "trustDomain": "production.example",
        "issuer": "https://production-issuer.troth-system.svc:8443",
        "maxLifetime": 900,
    }


def test_callee_without_tokens_is_no_audience() -> None:
    assert held(shop(payments(authentication={"mtls": {}}), checkout())) == {}


def test_declared_audience_is_used() -> None:
    audience = "https://payments.shop.example"
    cluster = shop(payments(authentication={"token": {"audience": audience}}), checkout())
    assert list(held(cluster)) == [audience]


def test_audience_claimed_by_two_callees_gets_no_tokens() -> None:
    cluster = shop(
        payments(authentication={"token": {"audience": "both"}}),
        identity("ledger", authentication={"token": {"audience": "both"}}),
        checkout(),
    )
    assert held(cluster) == {}
    cluster.put(identity("ledger", authentication={"token": {"audience": "its-own"}}))
    assert list(held(cluster)) == ["both"]


def test_scope_counts_only_on_a_port_with_a_live_edge() -> None:
    cluster = shop(
        payments(
            accept("checkout", "https", scopes=["charge"]),
            accept("checkout", "admin", scopes=["reset"]),
        ),
        checkout(call("payments", "https", scopes=["charge", "reset"])),
    )
    assert scopes(cluster) == ["charge"]


@pytest.mark.parametrize(
    ("callee", "caller"),
    [
        (payments(accept("nobody")), checkout()),
        (payments(), checkout(call("ledger", scopes=["charge"]))),
    ],
)
def test_edge_that_one_side_declares_is_not_listed(callee: Manifest, caller: Manifest) -> None:
    assert held(shop(callee, caller)) == {}


def test_caller_without_a_certificate_is_not_listed() -> None:
    legacy = identity(
        "legacy",
        ports=["https"],
        accepts=[accept("checkout")],
        authentication=gateway_only("checkout", NOW + builders.DAY),
    )
    assert list(look(shop(legacy, checkout()))) == [f"{SHOP}/checkout"]


# Domains


def federation(*manifests: Manifest) -> Cluster:
    return shop(
        namespace("abroad", domain="abroad"),
        domain("abroad", federatesWith=[{"name": "production"}], tokens={}),
        builders.authority_secret("abroad"),
        *manifests,
        federatesWith=[{"name": "abroad"}],
        allowEnvironments=["abroad"],
    )


def test_tokens_of_a_caller_are_issued_by_its_own_domain() -> None:
    cluster = federation(
        payments(accept("partner", namespace="abroad", scopes=["charge"])),
        identity(
            "partner", "abroad", calls=[call("payments", namespace="shop", scopes=["charge"])]
        ),
    )
    stored = cluster.objects["TrustDomain", Ref("", "abroad")]
    cluster.put({**stored, "spec": {**stored["spec"], "allowEnvironments": ["production"]}})
    assert list(look(cluster)) == [f"{SHOP}/payments"]
    theirs = decoded(cluster.objects["Secret", Ref(OWN, "abroad-tokens")])["view.json.gz"]
    partner = current_callers(theirs)["spiffe://abroad.example/ns/abroad/sa/partner"]
    assert partner["audiences"] == {f"{SHOP}/payments": {"scopes": ["charge"], "lifetime": 300}}


# Updates


def test_change_on_either_side_updates_the_view() -> None:
    cluster = shop(payments(), checkout())
    assert scopes(cluster) == ["charge"]
    cluster.put(payments(accept("checkout", scopes=["audit"])))
    assert scopes(cluster) == ["audit"]
    cluster.put(checkout(call("payments", scopes=["charge"])))
    assert scopes(cluster) == []
    cluster.put(checkout(call("other")))
    assert held(cluster) == {}
    cluster.drop("ServiceIdentity", Ref("shop", "checkout"))
    assert list(look(cluster)) == [f"{SHOP}/payments"]


def test_many_changes_at_once_cause_few_writes() -> None:
    cluster = shop(payments(), checkout())
    look(cluster)
    cluster.uptime += 60
    cluster.put(checkout(call("payments", scopes=["audit"])))
    cluster.visit(VIEW)
    cluster.put(checkout(call("payments", scopes=["charge"])))
    waiting = cluster.plan(VIEW)
    assert waiting.steps == ()
    assert waiting.due == NOW + timedelta(seconds=1)
    cluster.uptime += 1
    assert len(cluster.plan(VIEW).steps) == 1


def test_unchanged_view_is_not_written() -> None:
    cluster = shop(payments(), checkout())
    look(cluster)
    cluster.uptime += 60
    assert cluster.plan(VIEW).steps == ()
    cluster.put(checkout(call("payments", scopes=["audit", "charge"])))
    assert cluster.plan(VIEW).steps == ()


def test_view_has_a_canonical_serialisation() -> None:
    views = []
    for order in (1, -1):
        manifests = [payments(), checkout(), identity("ledger")][::order]
        cluster = shop(*manifests)
        made = cluster.world.registry.domains["production"]
        views.append(compiled(gather_issuer(made, Reader(cluster.world), cluster.moment), {}))
    assert views[0] == views[1]
    assert views[0][4:8] == bytes(4), "the time in the header"


def test_step_requires_the_observed_version_and_holds_only_the_view() -> None:
    cluster = shop(payments(), checkout(), tokens_secret(bundle_json=b"{}"))
    (step,) = cluster.plan(VIEW).steps
    assert isinstance(step, UpdateIssuer)
    stored = cluster.objects[TOKENS]["metadata"]
    assert (step.uid, step.resource_version) == (stored["uid"], stored["resourceVersion"])
    assert set(step.data) == {"view.json.gz"}


def test_view_is_not_written_before_the_bundle() -> None:
    """No issuer reads a view without it, and one of two concurrent first writes would be lost."""
    assert shop(payments(), checkout(), tokens_secret()).plan(VIEW).steps == ()


def test_view_is_not_written_into_a_foreign_secret() -> None:
    foreign = tokens_secret(bundle_json=b"{}")
    foreign["metadata"]["labels"] = {}
    assert shop(payments(), checkout(), foreign).plan(VIEW).steps == ()


def test_edited_view_is_restored_at_once_every_time() -> None:
    cluster = shop(payments(), checkout())
    look(cluster)
    for _ in range(3):
        stored = cluster.objects[TOKENS]
        data = builders.secret("x", view_json_gz=b"by hand")["data"]["view.json.gz"]
        cluster.uptime += 1
        cluster.put({**stored, "data": {**stored["data"], "view.json.gz": data}})
        assert len(cluster.plan(VIEW).steps) == 1
        cluster.visit(VIEW)


# Suspended edges


def usurper() -> Manifest:
    """Return another domain that selects the same namespaces."""
    return domain("usurper", namespaceSelector={"matchLabels": {"domain": "production"}}, tokens={})


def rival() -> Manifest:
    return identity("rival", account="checkout")


def broken(manifest: Manifest) -> Manifest:
    return {**manifest, "spec": {**manifest["spec"], "unknownField": 1}}


UNSETTLED = pytest.mark.parametrize(
    "conflict",
    [usurper(), rival(), broken(usurper()), broken(payments()), broken(checkout())],
    ids=["two domains", "shared account", "unreadable domain", "unreadable callee", "and caller"],
)


@UNSETTLED
def test_live_scopes_stay_while_the_edge_is_suspended(conflict: Manifest) -> None:
    cluster = shop(payments(), checkout())
    before = look(cluster)[f"{SHOP}/checkout"]
    assert before["audiences"]
    cluster.put(conflict)
    assert look(cluster)[f"{SHOP}/checkout"] == before


@UNSETTLED
def test_nothing_is_added_while_the_edge_is_suspended(conflict: Manifest) -> None:
    cluster = shop(identity("payments"), identity("checkout"))
    look(cluster)
    for manifest in (payments(), checkout(startsTransactions={"scopes": ["x"]})):
        if manifest["metadata"]["name"] != conflict["metadata"]["name"]:
            cluster.put(manifest)
            cluster.put(conflict)  # at once, before any reconcile
    found = look(cluster).get(f"{SHOP}/checkout", {"audiences": {}})
    assert found["audiences"] == {}
    if conflict["metadata"]["name"] in ("usurper", "rival"):
        assert "startsTransactions" not in found


@pytest.mark.parametrize("conflict", [usurper(), rival(), broken(checkout())])
def test_scope_withdrawn_by_the_callee_is_removed_while_suspended(conflict: Manifest) -> None:
    cluster = shop(payments(accept("checkout", scopes=["charge", "audit"])), checkout())
    assert scopes(cluster) == ["audit", "charge"]
    cluster.put(conflict)
    cluster.put(payments(accept("checkout", scopes=["audit", "refund"])))
    assert scopes(cluster) == ["audit"]
    cluster.put(payments(accept("somebody")))
    assert held(cluster) == {}


@pytest.mark.parametrize("conflict", [usurper(), rival(), broken(payments())])
def test_scope_withdrawn_by_the_caller_is_removed_while_suspended(conflict: Manifest) -> None:
    cluster = shop(payments(accept("checkout", scopes=["charge", "audit"])), checkout())
    assert scopes(cluster) == ["audit", "charge"]
    cluster.put(conflict)
    cluster.put(checkout(call("payments", scopes=["charge"])))
    assert scopes(cluster) == ["charge"]
    cluster.put(checkout(call("somebody")))
    # One of the two domains might require no consent of the caller, but it requests no scope.
    assert all(each["scopes"] == [] for each in held(cluster).values())
    if conflict["kind"] == "ServiceIdentity":
        assert held(cluster) == {}


def test_unreadable_caller_keeps_nothing_of_others() -> None:
    cluster = shop(payments(), checkout(), identity("other"))
    look(cluster)
    cluster.put(broken(checkout()))
    cluster.drop("ServiceIdentity", Ref("shop", "other"))
    found = look(cluster)
    assert found[f"{SHOP}/checkout"]["audiences"]
    assert found[f"{SHOP}/other"] == {"audiences": {}}, "for that may be its account"
    cluster.put(checkout())
    assert f"{SHOP}/other" not in look(cluster)


def test_withdrawn_scope_is_removed_beside_something_unreadable() -> None:
    both = (accept("checkout", scopes=["charge"]), accept("till", scopes=["charge"]))
    ledger = identity(
        "ledger",
        ports=["https"],
        accepts=[accept("till", scopes=["charge"])],
        authentication=TOKEN,
    )
    calling = [call("payments", scopes=["charge"]), call("ledger", scopes=["charge"])]
    cluster = shop(payments(*both), checkout(), ledger, identity("till", calls=calling))
    assert list(held(cluster, "till")) == ["ledger", "payments"]
    cluster.put(broken(payments(*both)))
    cluster.put(identity("till", calls=calling[:1]))
    assert list(held(cluster, "till")) == ["payments"]
    cluster.put(payments(*both))
    cluster.put(broken(checkout()))
    cluster.put(identity("till"))
    assert held(cluster, "till") == {}
    assert list(held(cluster)) == ["payments"]


@pytest.mark.parametrize(
    "view", [b"", b"nonsense", gzip.compress(b"[]", mtime=0), gzip.compress(b"{", mtime=0)]
)
def test_unreadable_view_is_written_again(view: bytes) -> None:
    assert current_callers(view) == {}
    cluster = shop(payments(), checkout())
    look(cluster)
    stored = cluster.objects[TOKENS]
    data = builders.secret("x", view_json_gz=view)["data"]["view.json.gz"]
    cluster.put({**stored, "data": {**stored["data"], "view.json.gz": data}})
    assert scopes(cluster) == ["charge"]
