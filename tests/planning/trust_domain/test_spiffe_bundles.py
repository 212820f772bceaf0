"""SPIFFE bundles: roots and token keys of each domain in one document for verifiers."""

import json
from typing import Any

from tests import builders
from tests.builders import OWN, Cluster, Manifest, domain, namespace, tokens_secret
from troth.pki.bundles.spiffe_bundle import SPIFFEBundle, parse_bundle_map, parse_spiffe_bundle
from troth.pki.bundles.trust_bundle import parse_bundle
from troth.planning.trust_domain.spiffe_bundles import key_ids_in
from troth.resources.references import Ref
from troth.world.keys import domain_key
from troth.world.observation.objects import decoded

BUNDLE = "ConfigMap", Ref("shop", "trust-bundle")


def federation(*manifests: Manifest, **abroad: Any) -> Cluster:
    return Cluster.of(
        namespace("shop", domain="production"),
        domain(federatesWith=[{"name": "abroad"}], tokens={}),
        domain("abroad", **({"federatesWith": [{"name": "production"}], "tokens": {}} | abroad)),
        builders.authority_secret(),
        tokens_secret(),
        *(manifests or (builders.authority_secret("abroad"), tokens_secret("abroad"))),
    )


def files(cluster: Cluster) -> dict[str, str]:
    data: dict[str, str] = cluster.settle().objects[BUNDLE]["data"]
    return data


def bundles(cluster: Cluster) -> dict[str, SPIFFEBundle]:
    return parse_bundle_map(files(cluster)["bundle-map.json"])


def test_every_bundle_has_the_same_roots_in_each_format() -> None:
    cluster = federation()
    found = bundles(cluster)
    roots = {each for bundle in found.values() for each in bundle.x509_authorities}
    assert len(parse_bundle(files(cluster)["ca.crt"])) == len(roots) == 2
    own = parse_spiffe_bundle(files(cluster)["bundle.json"], "production.example")
    assert own == found["production.example"]
    assert list(found) == ["abroad.example", "production.example"]


def test_domain_without_tokens_has_a_bundle_of_its_roots() -> None:
    cluster = builders.shop()
    own = parse_spiffe_bundle(files(cluster)["bundle.json"], "production.example")
    assert (len(own.x509_authorities), len(own.jwt_keys)) == (1, 0)
    assert list(bundles(cluster)) == ["production.example"]


def test_each_domain_has_all_its_keys_and_no_foreign_key() -> None:
    cluster = federation()
    for name, bundle in bundles(cluster).items():
        known = cluster.world.tokens.secrets[f"{name.removesuffix('.example')}-tokens"]
        assert set(bundle.jwt_keys) == {key.kid for key in known.keys}


def test_unconfined_root_is_in_no_bundle_but_its_domains_keys_are() -> None:
    """A root could issue identities of any domain; a key verifies only its own domain's tokens."""
    unconfined = builders.authority_secret("abroad", constrained=False)
    abroad = bundles(federation(unconfined, tokens_secret("abroad")))["abroad.example"]
    assert abroad.x509_authorities == ()
    assert len(abroad.jwt_keys) == 3


def test_domain_of_the_same_spiffe_trust_domain_is_in_no_bundle() -> None:
    """Its root is confined to the common name, so it could issue identities of both."""
    cluster = federation(domain="production.example")
    own = cluster.settle().world.authorities.secrets["production-authority"].plain
    assert parse_bundle(files(cluster)["ca.crt"]) == parse_bundle(own.decode())
    assert len(bundles(cluster)["production.example"].x509_authorities) == 1


def test_domain_that_federates_on_one_side_is_in_no_bundle() -> None:
    assert list(bundles(federation(federatesWith=[]))) == ["production.example"]


def test_domain_without_roots_and_keys_is_left_out() -> None:
    cluster = federation(builders.namespace("x"), authority={"secretRef": {"name": "missing"}})
    del cluster.objects["TrustDomain", Ref("", "abroad")]  # its plan has not run
    assert list(bundles(cluster)) == ["production.example"]


def test_new_key_of_a_federated_domain_reaches_the_bundles() -> None:
    made = builders.stamp(builders.NOW).encode()
    cluster = federation()
    for name in ("production", "abroad"):  # its own key is not being rotated
        cluster.put(tokens_secret(name, current_key=builders.token_key(), current_made=made))
    before = files(cluster)["bundle-map.json"]
    other = tokens_secret("abroad", current_key=builders.token_key("other"), current_made=made)
    affected = cluster.put(other)
    assert domain_key("production") in affected
    assert files(cluster)["bundle-map.json"] != before


def test_bundle_has_no_private_key() -> None:
    for text in files(federation()).values():
        assert "PRIVATE" not in text
    for text in (files(federation())["bundle.json"], files(federation())["bundle-map.json"]):
        assert '"d"' not in json.dumps(json.loads(text))


def test_keys_are_found_in_readable_maps_only() -> None:
    cluster = federation()
    text = files(cluster)["bundle-map.json"]
    known = cluster.world.tokens.secrets["abroad-tokens"]
    assert key_ids_in(text, "abroad.example") == {key.kid for key in known.keys}
    assert key_ids_in(text, "elsewhere.example") == frozenset()
    for odd in ("", "{", text[:-20], '{"trust_domains": []}'):
        assert key_ids_in(odd, "abroad.example") == frozenset()


def test_issuer_secret_and_bundle_have_the_same_keys() -> None:
    cluster = federation().settle()
    data = decoded(cluster.objects["Secret", Ref(OWN, "production-tokens")])
    assert data["bundle.json"].decode() == files(cluster)["bundle.json"]
