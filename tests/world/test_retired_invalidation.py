"""Every trust domain whose retired roots begin or cease to verify events is affected."""

import base64
import copy
from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests import builders
from tests.builders import DAY, HOUR, NOW, OWN, Cluster, Manifest, rotation
from tests.messaging import consumer, policy
from tests.strategies import DOMAINS, NAMES, NAMESPACES, domains, half, namespaces, often, sometimes
from tests.world.test_invalidation import broken
from tests.world.watching import Watch
from troth.pki.certificates.leaf import short
from troth.pki.encodings.pem import fingerprint, read_certificates
from troth.resources.references import Ref
from troth.resources.schema.scalars import format_duration
from troth.world.facts.objects import RetiredRoot
from troth.world.keys import Key, domain_key
from troth.world.observation.retired import RETIRED, roots_document

EVERYBODY = [domain_key(name) for name in DOMAINS]
AGES = (HOUR, 7 * DAY, 30 * DAY, 90 * DAY)


def plans(cluster: Cluster) -> dict[Key, Any]:
    return {key: cluster.plan(key) for key in EVERYBODY}


def retired_root(domain: str, days: int) -> RetiredRoot:
    pem, _ = builders.root(f"{domain}.example", "second", constrained=True)
    (certificate,) = read_certificates(pem, "a root")
    return RetiredRoot(fingerprint(certificate), NOW - days * DAY, (pem,))


@st.composite
def some_authority(draw: st.DrawFn) -> Manifest:
    domain = draw(st.sampled_from(DOMAINS))
    made = copy.deepcopy(builders.authority_secret(domain))
    if draw(half):
        records = roots_document([retired_root(domain, draw(st.sampled_from((1, 20, 80))))])
        made["data"][RETIRED] = base64.b64encode(records).decode()
    if draw(sometimes):
        made["metadata"]["labels"] = {}
    return made


@st.composite
def some_policy(draw: st.DrawFn) -> Manifest:
    age: timedelta = draw(st.sampled_from(AGES))
    parties = st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMESPACES))
    named = draw(st.lists(parties, max_size=2, unique=True))
    consumers = [consumer(name, namespace=place) for name, place in named]
    name, place = draw(st.sampled_from(NAMES)), draw(st.sampled_from(NAMESPACES))
    made = policy(name, place, consumers=consumers)
    if draw(often):
        made["spec"]["context"] = {"require": ["Actor"], "maxAge": format_duration(age)}
    return broken(made) if draw(sometimes) else made


@st.composite
def some_rotation(draw: st.DrawFn) -> Manifest:
    domain = draw(st.sampled_from(DOMAINS))
    stolen = short(retired_root(domain, 1).fingerprint)
    return rotation("TrustDomain", domain, OWN, draw(st.sampled_from(NAMES)), compromised=stolen)


declarations = st.one_of(
    some_authority(),
    some_policy(),
    some_rotation(),
    st.sampled_from(NAMESPACES).flatmap(namespaces),
    st.sampled_from(DOMAINS).flatmap(domains),
)


def with_retired_roots() -> list[Manifest]:
    """Trust domains that each govern a namespace, with a root that was retired 20 days ago."""
    made: list[Manifest] = []
    for domain, place in zip(DOMAINS, NAMESPACES, strict=False):
        authority = copy.deepcopy(builders.authority_secret(domain))
        records = roots_document([retired_root(domain, 20)])
        authority["data"][RETIRED] = base64.b64encode(records).decode()
        made += [builders.namespace(place, domain=domain), builders.domain(domain), authority]
    return made


@given(st.lists(declarations, min_size=4, max_size=16), st.data())
def test_every_trust_domain_whose_retired_roots_change_is_affected(
    manifests: list[Manifest], data: st.DataObject
) -> None:
    cluster = Cluster()
    for manifest in with_retired_roots():
        cluster.put(manifest)
    watch = Watch(cluster, plans)
    for manifest in manifests:
        place = manifest["kind"], Ref.of(manifest)
        watch(f"put {place}", cluster.put, manifest)
        if data.draw(sometimes):
            gone = data.draw(st.sampled_from(sorted(cluster.objects)))
            watch(f"drop {gone}", cluster.drop, *gone)
    watch.assert_like_afresh()
