"""Retired roots and token keys stay in the trust bundle for events, and no longer than they may."""

import base64
import copy
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from tests import builders
from tests.broker_builders import orders
from tests.builders import DAY, HOUR, NOW, OWN, Cluster, Manifest, domain, namespace, rotation
from tests.messaging import consumer, policy
from troth.documents.event_bundles import FILE as EVENTS_BUNDLE_MAP
from troth.documents.event_bundles import TOLERANCE
from troth.pki.bundles.spiffe_bundle import SPIFFEBundle, parse_bundle_map
from troth.pki.certificates.leaf import short
from troth.pki.encodings.pem import fingerprint, read_certificates
from troth.pki.keys.jwk import public_jwk
from troth.pki.keys.private import load_private_key
from troth.planning.steps.authorities import UpdateRetired
from troth.planning.steps.objects import Apply
from troth.planning.trust_domain import retired
from troth.resources.references import Ref
from troth.resources.schema.scalars import format_duration
from troth.world.facts.objects import RetiredKey, RetiredRoot, TokenKey
from troth.world.keys import domain_key
from troth.world.observation.objects import BUNDLE_MAP
from troth.world.observation.retired import (
    MOST_BYTES,
    MOST_KEYS,
    MOST_ROOTS,
    RETIRED,
    entry_size,
    keys_document,
    roots_document,
)

PRODUCTION = domain_key("production")
CA = "Secret", Ref(OWN, "production-authority")
TOKENS = "Secret", Ref(OWN, "production-tokens")
WEEK = 7 * DAY
TOLERATED = timedelta(seconds=TOLERANCE)
OLD = ("second", "third", "fourth", "fifth")


def root(which: str, retired_at: datetime, *, name: str = "production") -> RetiredRoot:
    pem, _ = builders.root(f"{name}.example", which, constrained=True)
    (certificate,) = read_certificates(pem, "a root")
    return RetiredRoot(fingerprint(certificate), retired_at, (pem,))


def key(which: str, retired_at: datetime) -> RetiredKey:
    made = load_private_key(builders.token_key(which)).public_key()
    assert isinstance(made, ec.EllipticCurvePublicKey)
    jwk = public_jwk(made)
    return RetiredKey(TokenKey(jwk["kid"], jwk["x"], jwk["y"]), retired_at)


def shop(*manifests: Manifest, roots: Iterable[RetiredRoot] = (), records: bytes = b"") -> Cluster:
    """Return a trust domain whose authority's Secret has records of retired roots."""
    authority = builders.authority_secret()
    written = records or roots_document(roots)
    if written:
        authority["data"][RETIRED] = base64.b64encode(written).decode()
    return Cluster.of(namespace("shop", domain="production"), domain(), authority, *manifests)


def issuing(keys: Iterable[RetiredKey] = ()) -> Cluster:
    """Return a trust domain that issues tokens, with records of retired keys."""
    made = builders.stamp(NOW).encode()
    tokens = builders.tokens_secret(current_key=builders.token_key(), current_made=made)
    tokens["data"][RETIRED] = base64.b64encode(keys_document(keys)).decode()
    declared = namespace("shop", domain="production"), domain(tokens={})
    return Cluster.of(*declared, builders.authority_secret(), tokens)


def planned(cluster: Cluster, file: str = EVENTS_BUNDLE_MAP) -> dict[str, SPIFFEBundle]:
    """Return a bundle map in the ConfigMap that is planned now."""
    (step,) = (
        each
        for each in cluster.plan(PRODUCTION).steps
        if isinstance(each, Apply) and each.manifest["kind"] == "ConfigMap"
    )
    return parse_bundle_map(step.manifest["data"][file])


def trusted(cluster: Cluster, file: str = EVENTS_BUNDLE_MAP) -> set[str]:
    """Return the fingerprints of the roots of a bundle map that is planned now."""
    pem = b"".join(planned(cluster, file)["production.example"].x509_authorities)
    return {fingerprint(each) for each in read_certificates(pem, "the bundle")}


def live() -> str:
    (plain,) = read_certificates(builders.plain("production.example", "first"), "the root")
    return fingerprint(plain)


def tidies(cluster: Cluster) -> list[UpdateRetired]:
    return [each for each in cluster.plan(PRODUCTION).steps if isinstance(each, UpdateRetired)]


def compromised(*records: RetiredRoot | RetiredKey) -> list[Manifest]:
    return [
        rotation(
            "TrustDomain", "production", OWN, f"r{number}", compromised=short(each.fingerprint)
        )
        for number, each in enumerate(records)
    ]


def aged(age: timedelta) -> Manifest:
    """Return the `context` of a policy whose events may have this age."""
    return {"require": ["Actor"], "maxAge": format_duration(age)}


# The trust bundle for events


def test_bundle_for_events_has_live_and_retired_roots() -> None:
    old = root("second", NOW - DAY)
    cluster = shop(roots=[old])
    assert trusted(cluster) == {live(), old.fingerprint}
    assert trusted(cluster, BUNDLE_MAP) == {live()}
    bundle = planned(cluster)["production.example"]
    assert bundle.retired_authorities == {old.anchors[0]: (NOW - DAY).timestamp()}


def test_root_in_use_again_is_not_retired_for_events() -> None:
    cluster = shop(roots=[root("first", NOW - DAY)])
    assert planned(cluster) == planned(cluster, BUNDLE_MAP)


def test_bundle_for_events_equals_the_live_one_without_retired_roots() -> None:
    assert planned(shop()) == planned(shop(), BUNDLE_MAP)


def test_retired_root_leaves_the_bundle_after_the_maximum_age_and_the_tolerance() -> None:
    old = root("second", NOW)
    cluster = shop(roots=[old]).settle()
    end = NOW + WEEK + TOLERATED
    cluster.now = end - timedelta(seconds=1)
    assert old.fingerprint in trusted(cluster)
    due = cluster.plan(PRODUCTION).due
    assert due is not None
    assert due <= end
    cluster.now = end
    assert trusted(cluster) == {live()}


def test_retired_root_stays_as_long_as_the_longest_age_of_a_policy() -> None:
    old = root("second", NOW - 29 * DAY)
    short, long = (orders(f"{age.days}-days", context=aged(age)) for age in (DAY, 30 * DAY))
    elsewhere = policy("elsewhere", "nowhere", context=aged(60 * DAY))
    assert trusted(shop(short, elsewhere, roots=[old])) == {live()}
    assert trusted(shop(short, long, roots=[old])) == {live(), old.fingerprint}


def test_policy_of_another_namespace_counts_for_its_producers_and_consumers() -> None:
    old = root("second", NOW - 29 * DAY)
    here = [consumer("a", namespace="shop")]
    named = policy("elsewhere", "nowhere", consumers=here, context=aged(60 * DAY))
    assert trusted(shop(named, roots=[old])) == {live(), old.fingerprint}


def test_unreadable_policy_may_have_the_longest_age() -> None:
    old = root("second", NOW - 29 * DAY)
    cluster = shop(orders(context=aged(30 * DAY)), roots=[old])
    broken = orders(context=aged(30 * DAY), invented=True)
    cluster.put(broken)
    assert cluster.world.brokers.messaging.invalid_policies
    assert trusted(cluster) == {live(), old.fingerprint}
    cluster.now += 30 * DAY
    assert trusted(cluster) == {live(), old.fingerprint}
    cluster.drop("TopicPolicy", Ref("shop", "orders"))
    assert trusted(cluster) == {live()}


def test_first_and_last_unreadable_policy_affect_every_trust_domain() -> None:
    cluster = shop(orders())
    broken, other = (policy(name, "nowhere", invented=True) for name in ("broken", "other"))
    assert PRODUCTION in cluster.put(broken)
    assert PRODUCTION not in cluster.put(other)
    assert PRODUCTION not in cluster.put(policy("other", "nowhere"))
    assert PRODUCTION in cluster.put(policy("broken", "nowhere"))
    assert PRODUCTION in cluster.put(broken)
    assert PRODUCTION in cluster.drop("TopicPolicy", Ref("nowhere", "broken"))


def test_change_of_a_long_age_affects_the_trust_domains_of_the_policy() -> None:
    cluster = shop()
    long, longer = (orders(context=aged(age * DAY)) for age in (30, 40))
    assert PRODUCTION not in cluster.put(orders())
    assert PRODUCTION in cluster.put(long)
    assert PRODUCTION not in cluster.put(long)
    assert PRODUCTION in cluster.put(longer)
    assert PRODUCTION in cluster.put(orders(context=aged(DAY)))
    assert PRODUCTION not in cluster.put(orders(context=aged(HOUR)))
    here = [consumer("a", namespace="shop")]
    named = policy("orders", "nowhere", consumers=here, context=aged(30 * DAY))
    assert PRODUCTION in cluster.put(named)
    assert PRODUCTION in cluster.drop("TopicPolicy", Ref("nowhere", "orders"))


def test_federated_domain_sees_no_retired_root() -> None:
    old = root("second", NOW - DAY)
    other = domain("abroad", federatesWith=[{"name": "production"}])
    mine = domain(federatesWith=[{"name": "abroad"}])
    cluster = shop(roots=[old])
    for manifest in (other, mine, builders.authority_secret("abroad")):
        cluster.put(manifest)
    cluster.put(namespace("team-abroad", domain="abroad"))
    (step,) = (
        each
        for each in cluster.plan(domain_key("abroad")).steps
        if isinstance(each, Apply) and each.manifest["kind"] == "ConfigMap"
    )
    data = step.manifest["data"]
    theirs = parse_bundle_map(data[EVENTS_BUNDLE_MAP])["production.example"]
    assert theirs == parse_bundle_map(data[BUNDLE_MAP])["production.example"]
    assert "abroad.example" in planned(cluster)


def test_retired_token_key_verifies_events_only() -> None:
    old = key("before", NOW - DAY)
    cluster = issuing([old])
    assert old.key.kid in planned(cluster)["production.example"].jwt_keys
    assert old.key.kid not in planned(cluster, BUNDLE_MAP)["production.example"].jwt_keys
    retired_keys = planned(cluster)["production.example"].retired_keys
    assert retired_keys == {old.key.kid: (NOW - DAY).timestamp()}
    cluster.now += 7 * DAY
    assert old.key.kid not in planned(cluster)["production.example"].jwt_keys


def test_status_lists_what_verifies_events_only() -> None:
    old, former = root("second", NOW - DAY), key("before", NOW - HOUR)
    status = shop(roots=[old]).plan(PRODUCTION).status or {}
    assert status["retiredAuthorities"] == [
        {"fingerprint": short(old.fingerprint), "retiredAt": builders.stamp(NOW - DAY)}
    ]
    status = issuing([former]).plan(PRODUCTION).status or {}
    assert status["retiredTokenKeys"] == [
        {"fingerprint": short(former.fingerprint), "retiredAt": builders.stamp(NOW - HOUR)}
    ]


def test_clock_that_was_set_forward_removes_nothing() -> None:
    """Other clocks may still be behind; it leaves when its time has passed on all of them."""
    old = root("second", NOW)
    cluster = shop(roots=[old]).settle()
    cluster.now, cluster.set_forward = NOW + 400 * DAY, 400 * DAY
    assert trusted(cluster) == {live(), old.fingerprint}
    assert tidies(cluster) == []


def test_clock_that_was_set_back_keeps_the_record() -> None:
    old = root("second", NOW)
    cluster = shop(roots=[old]).settle()
    cluster.now = NOW - DAY
    assert trusted(cluster) == {live(), old.fingerprint}


ages = st.integers(1, 2160).map(lambda hours: timedelta(hours=hours))
past = st.integers(0, 2400 * 60).map(lambda minutes: NOW - timedelta(minutes=minutes))


@given(
    retirements=st.lists(st.tuples(st.sampled_from(OLD), past), max_size=6),
    stolen=st.sets(st.sampled_from(OLD)),
    declared=st.lists(ages, max_size=3),
)
def test_root_verifies_events_iff_it_is_live_or_lately_retired_and_not_compromised(
    retirements: list[tuple[str, datetime]], stolen: set[str], declared: list[timedelta]
) -> None:
    policies = [orders(f"p{number}", context=aged(age)) for number, age in enumerate(declared)]
    records = [root(*each) for each in retirements]
    lost = [root(each, NOW) for each in sorted(stolen)]
    cluster = shop(*policies, *compromised(*lost), roots=records)
    longest = max((WEEK, *declared))
    last = {
        which: max(at for each, at in retirements if each == which)
        for which in {which for which, _ in retirements}
    }
    expected = {
        root(which, at).fingerprint
        for which, at in last.items()
        if which not in stolen and at + longest + TOLERATED > NOW
    }
    for _ in range(3):
        assert trusted(cluster) == {live()} | expected
        assert trusted(cluster, BUNDLE_MAP) == {live()}
        cluster.visit(PRODUCTION)
    assert tidies(cluster) == []


# The records


def test_compromised_retired_root_leaves_the_bundle_and_the_records_at_once() -> None:
    old, other = root("second", NOW - DAY), root("third", NOW - HOUR)
    cluster = shop(roots=[old, other]).settle()
    (declared,) = compromised(old)
    assert PRODUCTION in cluster.put(declared)
    assert trusted(cluster) == {live(), other.fingerprint}
    (step,) = tidies(cluster)
    assert step.records == roots_document([other])
    cluster.settle()
    cluster.drop("CredentialRotation", Ref(OWN, "r0"))
    assert trusted(cluster.settle()) == {live(), other.fingerprint}, "it never comes back"


def test_compromised_retired_token_key_leaves_the_bundle_and_the_records_at_once() -> None:
    old = key("before", NOW - DAY)
    cluster = issuing([old]).settle()
    (declared,) = compromised(old)
    assert PRODUCTION in cluster.put(declared)
    assert old.key.kid not in planned(cluster)["production.example"].jwt_keys
    cluster.settle()
    assert RETIRED not in cluster.objects[TOKENS]["data"]


def test_records_are_kept_for_the_longest_age_that_a_policy_can_set() -> None:
    """A policy that is unreadable or created again must not find them gone."""
    old = root("second", NOW)
    cluster = shop(roots=[old]).settle()
    cluster.now += 60 * DAY
    assert trusted(cluster.settle()) == {live()}
    cluster.put(orders(context=aged(90 * DAY)))
    assert trusted(cluster.settle()) == {live(), old.fingerprint}
    cluster.now = NOW + 90 * DAY + TOLERATED
    assert [each.slots for each in tidies(cluster)] == [(RETIRED,)]
    cluster.settle()
    assert RETIRED not in cluster.objects[CA]["data"]


@pytest.mark.parametrize(
    "text",
    [
        b"garbage",
        b"{}",
        b'{"version":2,"roots":[]}',
        b'{"version":1,"roots":[{}]}',
        b'{"version":1,"roots":[{"fingerprint":"a","anchors":"","retiredAt":""}]}',
        b'{"version":1,"roots":[null]}',
        b"[" * 100_000,
        b"{" + b" " * (MOST_BYTES + 100),
    ],
    ids=range(8),
)
def test_unreadable_records_are_trusted_for_nothing_and_removed(text: bytes) -> None:
    cluster = shop(records=text)
    assert trusted(cluster) == {live()}
    assert [each.slots for each in tidies(cluster)] == [(RETIRED,)]
    cluster.settle()
    assert RETIRED not in cluster.objects[CA]["data"]


def test_last_retirement_of_a_root_counts() -> None:
    first, other, last = root("second", NOW - 3 * DAY), root("third", NOW - 2 * DAY), NOW - DAY
    cluster = shop(roots=[first, other, root("second", last)])
    (step,) = tidies(cluster)
    assert step.records == roots_document([other, root("second", last)])


def test_records_of_a_foreign_secret_are_not_used() -> None:
    authority = copy.deepcopy(builders.authority_secret())
    cluster = shop(roots=[root("second", NOW - DAY)])
    authority["metadata"]["labels"] = {}
    authority["data"] = cluster.objects[CA]["data"]
    cluster.put(authority)
    assert tidies(cluster) == []
    assert (cluster.plan(PRODUCTION).status or {})["retiredAuthorities"] == []


def test_oldest_records_are_dropped_if_there_are_too_many() -> None:
    one = root("second", NOW)
    many = [
        RetiredRoot(f"{number:064x}", NOW - timedelta(minutes=number), one.anchors)
        for number in range(MOST_ROOTS)
    ]
    cluster = shop(roots=many).settle()
    assert tidies(cluster) == []
    told = cluster.condition(PRODUCTION, "BundleDistributed")
    assert (told["status"], told["reason"]) == ("True", "TooManyRetired")
    authority = cluster.objects[CA]
    stored = copy.deepcopy(authority)
    retiring, _ = builders.root("production.example", "third", constrained=True)
    stored["data"]["retiring.crt"] = base64.b64encode(retiring).decode()
    cluster.put(stored)
    cluster.now, cluster.uptime = NOW + HOUR, HOUR.total_seconds()
    (step,) = tidies(cluster)
    newest = root("third", NOW + HOUR)
    expected = [*sorted(many[:-1], key=lambda each: each.retired_at), newest]
    assert (step.slots, step.records) == (("retiring.crt",), roots_document(expected))


def test_most_records_fit_into_their_secret() -> None:
    large = RetiredRoot(f"{1:064x}", NOW, root("second", NOW).anchors * 20)
    cluster = shop(roots=[large])
    held = cluster.world.authorities.of(cluster.world.registry.domains["production"])
    assert held is not None
    many = [
        RetiredRoot(f"{number:064x}", NOW - timedelta(minutes=number), large.anchors)
        for number in range(MOST_ROOTS)
    ]
    kept = retired._kept(many, (), cluster.moment)
    assert 0 < len(kept) < MOST_ROOTS
    assert kept[-1] == many[0], "the newest"
    assert len(roots_document(kept)) <= MOST_BYTES
    for number, reason in ((len(kept), "TooManyRetired"), (len(kept) - 1, "Distributed")):
        told = shop(roots=kept[-number:]).settle().condition(PRODUCTION, "BundleDistributed")
        assert (told["status"], told["reason"]) == ("True", reason)


def of_size(size: int, retired_at: datetime) -> RetiredRoot:
    """Return a record that takes so many bytes, with anchors that nobody reads."""
    bare = RetiredRoot(f"{size:064x}", retired_at, (b"",))
    return replace(bare, anchors=(b"x" * (size - entry_size(bare)),))


def test_document_around_the_records_fits_too() -> None:
    """If it were too large, the next plan could not read it, and would remove all records."""
    cluster, newest = shop(), of_size(MOST_BYTES // 2, NOW)
    for size in range(MOST_BYTES // 2 - 100, MOST_BYTES // 2 + 1):
        records = [of_size(size, NOW - HOUR), newest]
        kept = retired._kept(records, (), cluster.moment)
        assert len(roots_document(kept)) <= MOST_BYTES, size
    assert retired._leaves_no_room((newest,), (newest,)), "for one more of its size"


def test_records_that_no_event_needs_any_more_leave_room() -> None:
    one = root("second", NOW)
    many = [
        RetiredRoot(f"{number:064x}", NOW - number * DAY, one.anchors)
        for number in range(MOST_ROOTS)
    ]
    told = shop(roots=many).settle().condition(PRODUCTION, "BundleDistributed")
    assert (told["status"], told["reason"]) == ("True", "Distributed")


def test_most_token_keys_fit_into_their_secret() -> None:
    one = key("before", NOW)
    many = [
        RetiredKey(TokenKey(f"{number:043}", one.key.x, one.key.y), NOW)
        for number in range(MOST_KEYS)
    ]
    assert len(keys_document(many)) <= MOST_BYTES
