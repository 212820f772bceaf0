"""Rotations that forged Secrets and ConfigMaps of tenants try to block."""

import copy
from datetime import timedelta

import pytest
from cryptography import x509

from tests import builders
from tests.pki import builders as pki
from tests.reconcile import token_rotating
from tests.reconcile.rotating import AUTHORITY, STEP, Manifest, Scene, scene
from tests.reconcile.token_rotating import KEY_LIFETIME
from troth.pki.certificates.paths import subject_key_id
from troth.pki.encodings.pem import read_certificates
from troth.pki.keys.private import signature_hash
from troth.resources.references import Ref
from troth.world.facts.objects import MANAGED_BY, OWNER_KIND, OWNER_NAME
from troth.world.observation import objects as observe

HALF_HOUR = timedelta(minutes=30)
FAR = timedelta(days=27_000)
BUNDLE = Ref("team1", "trust-bundle")


def forged_leaf(it: Scene, spiffe_id: str) -> tuple[bytes, bytes]:
    """Return a certificate, which names the domain's root as its issuer, and its key."""
    data = observe.decoded(it.server.objects["Secret", AUTHORITY])
    (root,) = read_certificates(data["tls.crt"], "tls.crt")
    issuer = pki.Made(root, pki.key())
    made = pki.by_hand("forged", issuer, ca=False, names=[pki.uri(spiffe_id)], lifetime=FAR)
    assert subject_key_id(root)  # the forger knows it, as it is public
    key_id = x509.AuthorityKeyIdentifier(subject_key_id(root), None, None)
    builder = x509.CertificateBuilder(
        issuer_name=root.subject,
        subject_name=made.certificate.subject,
        public_key=made.certificate.public_key(),
        serial_number=7,
        not_valid_before=made.certificate.not_valid_before_utc,
        not_valid_after=made.certificate.not_valid_after_utc,
        extensions=[
            each
            if not isinstance(each.value, x509.AuthorityKeyIdentifier)
            else x509.Extension(each.oid, each.critical, key_id)
            for each in made.certificate.extensions
        ],
    )
    signature = signature_hash(made.key)
    return pki.Made(builder.sign(made.key, signature), made.key).pem, made.key_pem


def forged_secret(it: Scene, name: str) -> Manifest:
    leaf, key = forged_leaf(it, "spiffe://prod.shop.example/ns/team1/sa/nobody")
    made = builders.secret(name, "team1", tls_crt=leaf, tls_key=key, ca_crt=leaf)
    return builders.owned(made, "ServiceIdentity", name.removesuffix("-identity"))


def config_map(*, kind: str = "", owner: str = "") -> Manifest:
    labels = {MANAGED_BY: "troth", OWNER_KIND: kind, OWNER_NAME: owner} if owner else {}
    metadata = {"name": BUNDLE.name, "namespace": BUNDLE.namespace, "labels": labels}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"a": "b"}}


async def replace_bundle(it: Scene, bundle: Manifest) -> None:
    """Replace a bundle as a tenant does; the operator observes what its informers select."""
    gone = it.server.take_away("ConfigMap", BUNDLE)
    stored = it.server.put(bundle)
    it.engine.forget("ConfigMap", BUNDLE, int(gone["metadata"]["resourceVersion"]))
    if bundle["metadata"]["labels"]:
        it.engine.observe(copy.deepcopy(stored))
    await it.settle()


FORGED_BUNDLES = [
    config_map(),
    config_map(kind="ServiceIdentity", owner="service1"),
]


@pytest.mark.parametrize("name", ["nobody-identity", "anything"])
async def test_forged_secret_blocks_no_root_rotation(name: str) -> None:
    async with scene() as it:
        await it.live(timedelta(minutes=1))
        await it.user_puts(forged_secret(it, name))
        await it.until("Distributing")
        await it.live(HALF_HOUR)
        assert it.phases == ["Idle", "Distributing", "Reissuing", "Retiring", "Idle"]
        assert it.blockers == []


async def test_copy_of_a_secret_under_another_name_blocks_no_root_rotation() -> None:
    async with scene() as it:
        await it.until("Distributing")
        copied = copy.deepcopy(it.server.objects["Secret", Ref("team1", "service1-identity")])
        copied["metadata"]["name"] = "service1"
        await it.user_puts(copied)
        await it.live(HALF_HOUR)
        assert it.phase == "Idle"
        assert it.blockers == []


@pytest.mark.parametrize("bundle", FORGED_BUNDLES)
async def test_foreign_bundle_blocks_no_root_rotation(bundle: Manifest) -> None:
    async with scene() as it:
        await it.live(timedelta(minutes=1))
        await replace_bundle(it, bundle)
        await it.until("Distributing")
        await it.live(HALF_HOUR)
        assert it.phase == "Idle"


async def test_bundle_that_becomes_foreign_while_it_is_awaited_ends_the_wait() -> None:
    async with scene() as it:
        await it.until("Distributing")
        await replace_bundle(it, config_map())
        await it.live(HALF_HOUR)
        assert it.phase == "Idle"


@pytest.mark.parametrize("bundle", FORGED_BUNDLES)
async def test_foreign_bundle_blocks_no_token_key_rotation(bundle: Manifest) -> None:
    async with token_rotating.scene() as it:
        await it.live(timedelta(minutes=1))
        first = it.signing
        await replace_bundle(it, bundle)
        await it.ask()
        await it.live(timedelta(minutes=10))
        assert it.signing != first
        assert it.token_blockers == []


async def test_unwritten_bundle_delays_a_token_key_for_one_key_lifetime_at_most() -> None:
    async with token_rotating.scene() as it:
        await it.live(timedelta(minutes=1))
        first = it.signing
        mute = copy.deepcopy(it.server.objects["ConfigMap", BUNDLE])
        apply = it.server.apply

        async def deaf(manifest: Manifest) -> Manifest:
            return copy.deepcopy(mute) if Ref.of(manifest) == BUNDLE else await apply(manifest)

        it.server.apply = deaf  # type: ignore[method-assign]  # the only failure
        await it.ask()
        await it.live(timedelta(minutes=10))
        (blocker,) = it.token_blockers
        assert "team1 does not have the next token key yet; Troth waits until " in blocker
        assert it.signing == first
        await it.clock.move_to(it.clock.now() + KEY_LIFETIME)
        await it.settle()
        await it.look_again()
        assert it.signing != first


async def test_labelled_config_map_blocks_no_first_root() -> None:
    bundle = config_map(kind="TrustDomain", owner="production")
    it = Scene(bundle)
    await it.start()
    try:
        await it.live(STEP)
        assert it.condition("AuthorityReady") == ("True", "Active")
        assert "ca.crt" in it.server.objects["ConfigMap", BUNDLE]["data"]
    finally:
        await it.kill()


async def test_forged_leaf_in_an_owned_secret_is_reissued() -> None:
    async with scene() as it:
        place = "Secret", Ref("team1", "service1-identity")
        genuine = observe.identity_secret(it.server.objects[place]).leaf
        assert genuine is not None
        copied = x509.load_der_x509_certificate(genuine.certificate)
        builder = x509.CertificateBuilder(
            issuer_name=copied.issuer,
            subject_name=copied.subject,
            public_key=pki.key().public_key(),
            serial_number=7,
            not_valid_before=copied.not_valid_before_utc,
            not_valid_after=copied.not_valid_after_utc,
            extensions=list(copied.extensions),
        )
        made = pki.Made(builder.sign(pki.key(), signature_hash(pki.key())), pki.key())
        forged = builders.secret("x", tls_crt=made.pem, tls_key=made.key_pem)["data"]
        it.tamper(*place, lambda manifest: manifest["data"].update(forged))
        await it.settle()
        now = observe.identity_secret(it.server.objects[place]).leaf
        assert now is not None
        assert now.serial != "7"


async def test_identity_that_left_its_secret_behind_blocks_no_rotation() -> None:
    """The garbage collector may be slow, and a tenant can remove the owner reference."""
    async with scene() as it:
        await it.until("Reissuing")
        place = "ServiceIdentity", Ref("team1", "service1")
        gone = it.server.take_away(*place)
        it.engine.forget(*place, int(gone["metadata"]["resourceVersion"]))
        await it.live(HALF_HOUR)
        assert it.phase == "Idle"
