"""The world takes in newer observations, keeps only public facts, and raises no errors."""

import base64
import copy
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import builders
from tests.builders import OWN, Cluster, Manifest, accept, call, identity, key_of, shop
from troth.planning.planner import plan
from troth.resources.references import Ref
from troth.world.facts.objects import OWNER_NAME
from troth.world.keys import domain_key, identity_key, view_key
from troth.world.world import World

# Who is concerned


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        pytest.param({"accepts": [accept("web"), accept("app")]}, {"app"}, id="one more accepted"),
        pytest.param({"accepts": []}, {"web"}, id="one accepted no more"),
        pytest.param({"accepts": [accept("web", "grpc")]}, {"web"}, id="on another port"),
        pytest.param({"calls": [call("app")]}, {"db", "app"}, id="one called instead of another"),
        pytest.param({"account": "other"}, {"web", "db"}, id="something else"),
    ],
)
def test_edge_affects_both_sides_and_workload_affects_all_peers(
    changed: dict[str, Any], told: set[str]
) -> None:
    ports = [("https", 8443), ("grpc", 9443)]
    declared: dict[str, Any] = {"ports": ports, "accepts": [accept("web")], "calls": [call("db")]}
    world = World(OWN)
    called = identity("db", ports=["https"], accepts=[accept("payments")])
    for other in (identity("web"), called, identity("app")):
        world.observe(versioned(other, 2), uptime=0.0)
    world.observe(versioned(identity(**declared), 3), uptime=0.0)
    assert world.observe(versioned(identity(**declared | changed), 4), uptime=0.0) == {
        key_of(name) for name in ("payments", *told)
    }


# Order of events


def versioned(manifest: Manifest, version: int) -> Manifest:
    metadata = {
        **manifest["metadata"],
        "resourceVersion": str(version),
        "uid": "u",
        "generation": 1,
    }
    return {**manifest, "metadata": metadata}


def test_echo_of_a_write_affects_nothing() -> None:
    world = World(OWN)
    written = versioned(identity(), 5)
    assert world.observe(written, uptime=0.0) == {key_of()}
    assert world.observe(copy.deepcopy(written), uptime=0.0) == set()


def test_stale_event_does_not_restore_an_older_state() -> None:
    world = World(OWN)
    world.observe(versioned(identity(ports=["https"]), 7), uptime=0.0)
    assert world.observe(versioned(identity(), 6), uptime=0.0) == set()
    (known,) = world.registry.identities.values()
    assert [port.name for port in known.spec.workload.ports] == ["https"]


def test_stale_deletion_does_not_forget_a_recreated_object() -> None:
    world = World(OWN)
    world.observe(versioned(identity(), 9), uptime=0.0)
    assert world.forget("ServiceIdentity", Ref("shop", "payments"), 8, uptime=0.0) == set()
    assert world.registry.identities


def test_deletion_of_an_unknown_object_affects_nothing() -> None:
    assert World(OWN).forget("ServiceIdentity", Ref("shop", "payments"), 8, uptime=0.0) == set()


def test_versions_are_compared_as_numbers() -> None:
    world = World(OWN)
    world.observe(versioned(identity(), 9), uptime=0.0)
    assert world.observe(versioned(identity(ports=["https"]), 10), uptime=0.0)


@given(st.permutations([1, 2, 3, 4]), st.lists(st.integers(0, 3), max_size=4))
def test_newest_version_wins_over_repeated_and_reordered_events(
    order: list[int], again: list[int]
) -> None:
    stories = [versioned(builders.namespace("shop", turn=str(turn)), turn) for turn in range(1, 5)]
    world = World(OWN)
    for turn in [*order, *(order[place] for place in again)]:
        world.observe(copy.deepcopy(stories[turn - 1]), uptime=0.0)
    assert world.registry.namespaces["shop"]["turn"] == "4"


# Secrets


def reachable(value: object, seen: set[int]) -> Iterator[object]:
    """Everything that hangs on a value."""
    if id(value) in seen:
        return
    seen.add(id(value))
    yield value
    match value:
        case str() | bytes() | int() | float() | None:
            return
        case Mapping():
            below: list[object] = [*value.keys(), *value.values()]
        case list() | tuple() | set() | frozenset():
            below = list(value)
        case _ if dataclasses.is_dataclass(value):
            below = [getattr(value, field.name) for field in dataclasses.fields(value)]
        case _:
            below = list(vars(value).values()) if hasattr(value, "__dict__") else []
    for each in below:
        yield from reachable(each, seen)


def secrets_in(value: object, private: list[bytes]) -> list[object]:
    found: list[object] = []
    for each in reachable(value, set()):
        data = each if isinstance(each, bytes) else str(each).encode()
        if isinstance(each, str | bytes) and any(secret in data for secret in private):
            found.append(each)
    return found


def test_neither_the_world_nor_a_plan_holds_a_private_key() -> None:
    with_keystore = {"mtls": {"keystores": ["PKCS12"]}}
    cluster = shop(
        identity("payments", ports=["https"], accepts=[accept("checkout")]),
        identity("checkout", calls=[call("payments")], authentication=with_keystore),
    ).settle()
    private: list[bytes] = []
    for secret in cluster.objects.values():
        for name, value in (secret.get("data") or {}).items():
            if secret["kind"] == "Secret" and name in ("tls.key", "keystore-password"):
                decoded = base64.b64decode(value)
                # the third line of a P-256 key is of its public half, which a bundle may have
                private += [decoded.strip(), value.encode(), *decoded.split(b"\n")[1:3]]
    assert len(private) > 6
    assert secrets_in(cluster.objects, private), "the search itself must find them"
    assert secrets_in(cluster.world, private) == []
    cluster.objects["Secret", Ref("shop", "payments-identity")]["data"] = {}
    for key in cluster.keys():  # noqa: SIM118 - a method of its own
        assert secrets_in(cluster.plan(key), private) == []
        assert not any(secret in repr(cluster.plan(key)).encode() for secret in private)
    assert not any(secret in repr(cluster.world).encode() for secret in private)


def test_foreign_secret_in_another_namespace_is_no_authority() -> None:
    """Only those of Troth's own namespace are."""
    stray = builders.authority_secret()
    stray["metadata"] = {**stray["metadata"], "namespace": "shop"}
    cluster = Cluster.of(builders.domain(), stray)
    assert cluster.world.authorities.secrets == {}


# Tokens


def test_change_of_tokens_affects_issuers_and_peers() -> None:
    """The caller's own document, and its issuer's view, name the scopes that a callee gives."""

    def vault(*scopes: str, audience: str = "vault") -> Manifest:
        accepts = [builders.accept("till", scopes=list(scopes))]
        token = {"token": {"audience": audience}}
        return identity("vault", ports=["https"], accepts=accepts, authentication=token)

    cluster = Cluster.of(
        builders.namespace("shop", domain="production"),
        builders.domain(tokens={}),
        vault("open"),
        identity("till", calls=[builders.call("vault", scopes=["open"])]),
        identity("other"),
        identity("safe", authentication={"token": {"audience": "safe"}}),
    )
    vaults, view = key_of("vault"), view_key("production")
    assert cluster.put(vault("open", "close")) == {vaults, key_of("till"), view}
    assert cluster.put(vault("open", "close", audience="safe")) == {
        *(vaults, key_of("till"), key_of("safe"), view)
    }
    assert cluster.put(identity("other", startsTransactions={})) == {key_of("other"), view}
    stored = cluster.objects["ServiceIdentity", Ref("shop", "other")]
    assert cluster.put({**stored, "status": {}}) == {key_of("other")}


def test_joining_namespace_affects_both_identities_with_one_audience() -> None:
    def asking(name: str, namespace: str) -> Manifest:
        return identity(name, namespace, authentication={"token": {"audience": "both"}})

    cluster = Cluster.of(
        builders.namespace("shop", domain="production"),
        builders.namespace("finance"),
        builders.domain(tokens={}),
        asking("vault", "shop"),
        asking("safe", "finance"),
        identity("till", calls=[call("vault")]),
    )
    affected = cluster.put(builders.namespace("finance", domain="production"))
    assert {key_of("safe", "finance"), key_of("vault"), key_of("till")} <= affected


def test_change_without_tokens_affects_no_issuer() -> None:
    cluster = shop(identity("vault", ports=["https"], accepts=[builders.accept("till")]))
    assert view_key("production") not in cluster.put(identity("till"))
    assert cluster.world.tokens.entries == {}


def test_written_view_affects_only_its_domain() -> None:
    cluster = shop(identity("till"))
    stored = cluster.objects["TrustDomain", Ref("", "production")]
    cluster.put({**stored, "spec": {**stored["spec"], "tokens": {}}})
    cluster.settle()
    secret = cluster.objects["Secret", Ref(OWN, "production-tokens")]
    changed = {**secret, "data": {**secret["data"], "view.json.gz": "eA=="}}
    assert cluster.put(changed) == {domain_key("production"), view_key("production")}


# Anything at all

junk = st.one_of(st.binary(max_size=40), st.sampled_from([builders.root("production.example")[0]]))


@given(
    st.dictionaries(
        st.sampled_from(("tls.crt", "tls.key", "ca.crt", "identity.json", "keystore.p12", "x")),
        st.one_of(junk.map(lambda data: base64.b64encode(data).decode()), st.text(max_size=9)),
    ),
    st.sampled_from(("ServiceIdentity", "TrustDomain", "")),
    st.sampled_from(("shop", OWN)),
)
def test_any_secret_content_is_observed_and_planned(
    data: dict[str, str], kind: str, namespace: str
) -> None:
    """What is wrong with it ends as a condition, not as an exception."""
    name = "production-authority" if kind == "TrustDomain" else "payments-identity"
    odd: Manifest = {**builders.secret(name, namespace), "data": data}
    owner = "production" if kind == "TrustDomain" else "payments"
    cluster = shop(identity(), builders.owned(odd, kind, owner) if kind else odd)
    for key in cluster.keys():  # noqa: SIM118 - a method of its own
        assert cluster.plan(key).status


@pytest.mark.parametrize(
    "manifest",
    [
        {"kind": "Service", "metadata": {"name": "x", "namespace": "shop"}},
        {"kind": "Service", "metadata": {"name": "x", "namespace": "shop"}, "spec": {}},
        {"kind": "EndpointSlice", "metadata": {"name": "x", "namespace": "default"}},
        {
            "kind": "EndpointSlice",
            "metadata": {"name": "x", "namespace": "default"},
            "endpoints": None,
            "ports": None,
        },
        {"kind": "Secret", "metadata": {"name": "x", "namespace": "shop"}, "data": None},
        {"kind": "ConfigMap", "metadata": {"name": "x", "namespace": "shop"}},
        {"kind": "NetworkPolicy", "metadata": {"name": "x", "namespace": "shop"}},
        {"kind": "Namespace", "metadata": {"name": "x"}},
        {"kind": "Namespace", "metadata": {"name": "x", "labels": None}},
        {"kind": "ServiceIdentity", "metadata": {"name": "x", "namespace": "shop"}},
        {"kind": "ServiceIdentity", "metadata": {"name": "x", "namespace": "shop"}, "spec": None},
        {"kind": "TrustDomain", "metadata": {"name": "x"}, "spec": []},
    ],
    ids=lambda manifest: manifest["kind"],
)
def test_optional_fields_may_be_absent(manifest: Any) -> None:
    World(OWN).observe(
        {**manifest, "metadata": {**manifest["metadata"], "resourceVersion": "3"}}, uptime=0.0
    )


# Invalidation, where hypothesis had to look long


def test_namespace_that_changes_its_domain_affects_both_domains() -> None:
    """The new governor finds the old one's bundle in its place, and hears when it is gone."""
    cluster = Cluster.of(
        builders.namespace("shop", domain="first"),
        builders.domain("first"),
        builders.domain("second"),
        builders.authority_secret("first"),
        builders.authority_secret("second"),
    ).settle()
    cluster.put(builders.namespace("shop", domain="second"))
    second = domain_key("second")
    assert cluster.visit(second) == plan(second, cluster.world, cluster.moment)
    assert cluster.condition(second, "BundleDistributed")["reason"] == "Conflict"
    (removal,) = cluster.plan(domain_key("first")).steps
    assert second in cluster.carry_out(removal)
    cluster.visit(second)
    assert cluster.condition(second, "BundleDistributed")["status"] == "True"


def test_domain_that_becomes_readable_affects_everything() -> None:
    cluster = shop(
        builders.namespace("lab", domain="other"),
        identity("lab", "lab"),
        builders.domain("other", unknownField=1),
    )
    lab = key_of("lab", "lab")
    assert cluster.condition(lab, "Ready")["reason"] == "TrustDomainInvalid"
    named = cluster.put(builders.domain("other"))
    assert {lab, domain_key("production")} <= named
    assert cluster.condition(lab, "Ready")["reason"] != "TrustDomainInvalid"


def test_owned_object_with_labels_of_another_owner_affects_both() -> None:
    cluster = shop(identity("payments"), identity("checkout")).settle()
    stolen = cluster.objects["Secret", Ref("shop", "payments-identity")]
    named = cluster.put(builders.owned(stolen, "ServiceIdentity", "checkout"))
    assert named >= {key_of("payments"), identity_key(Ref("shop", "checkout"))}
    cluster.settle()
    healed = cluster.objects["Secret", Ref("shop", "payments-identity")]
    assert healed["metadata"]["labels"] == {**healed["metadata"]["labels"], OWNER_NAME: "payments"}
    assert healed["data"] == stolen["data"]


def test_owned_object_of_a_replaced_identity_is_left_to_the_garbage_collector() -> None:
    """The namesake waits until it is gone, and is called when it is."""
    cluster = shop(identity()).settle()
    cluster.drop("ServiceIdentity", Ref("shop", "payments"))
    cluster.put(identity())
    cluster.settle()
    assert cluster.condition(key_of(), "CertificateIssued")["reason"] == "Conflict"
    for place in (("Secret", "payments-identity"), ("NetworkPolicy", "payments-troth")):
        assert key_of() in cluster.drop(place[0], Ref("shop", place[1]))
    assert cluster.settle().condition(key_of(), "Ready")["status"] == "True"


def test_identity_gone_after_a_long_deletion_affects_a_rotation() -> None:
    """While it was being deleted no root waited for its Secret; what is left of it counts again."""
    rotating = copy.deepcopy(builders.authority_secret())
    certificate, key = builders.root("production.example", "second")
    coming = builders.secret("x", next_crt=certificate, next_key=key.encode())
    rotating["data"] |= coming["data"]
    payments = builders.identity("payments")
    payments["metadata"] |= {
        "deletionTimestamp": builders.stamp(builders.NOW),
        "finalizers": ["example.com/hold"],
    }
    shop = builders.namespace("shop", domain="production")
    cluster = Cluster.of(shop, builders.domain(), rotating, payments)
    assert domain_key("production") in cluster.drop("ServiceIdentity", Ref("shop", "payments"))
