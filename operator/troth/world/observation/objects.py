"""Facts of Kubernetes objects. Private keys are checked here and not kept."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from pydantic_core import PydanticCustomError, to_json

from troth.documents import token_grants
from troth.documents.secret_keys import IDENTITY_JSON, KEY, LEAF, ROOTS, WEBHOOK_KEYS
from troth.pki.certificates.authorities import Authority, load_authority
from troth.pki.certificates.leaf import Leaf, leaf_of
from troth.pki.encodings.pem import MAX_CHAIN_BYTES
from troth.pki.errors import PKIError
from troth.resources.references import Ref
from troth.resources.schema.bounded_json import read_json
from troth.resources.schema.scalars import format_time, parse_moment
from troth.trust.declarations.trust_records import UNREADABLE
from troth.world.facts.objects import (
    KEYSTORE_DIGEST,
    LIVE_PEERS,
    OWNER_KIND,
    REPLACED_AT,
    TRUST_RECORD_KEY,
    AuthoritySecret,
    Content,
    Cutoff,
    Endpoint,
    Fault,
    IdentitySecret,
    KnownAuthority,
    Manifest,
    Service,
    ServicePort,
    TokensSecret,
    canonical,
)
from troth.world.observation.retired import MOST_BYTES, RETIRED, read_keys, read_roots
from troth.world.observation.secret_data import SecretData
from troth.world.observation.signing_keys import ISSUERS, signing_keys

KEYSTORE, TRUSTSTORE, PASSWORD = "keystore.p12", "truststore.p12", "keystore-password"
PUBLIC = (ROOTS, IDENTITY_JSON, WEBHOOK_KEYS)
_DIGESTED = (KEYSTORE, TRUSTSTORE, PASSWORD, LEAF, ROOTS)
NEXT_LEAF, NEXT_KEY, NEXT_ROOTS = "next.crt", "next.key", "next-ca.crt"
RETIRING, RETIRING_ROOTS = "retiring.crt", "retiring-ca.crt"
PLAIN, NEXT_PLAIN, RETIRING_PLAIN = "plain.crt", "next-plain.crt", "retiring-plain.crt"
"""Names in an authority's Secret: the next CA with its key, the previous CA's certificates, and the
plain certificates of roots of Troth's own.
"""
OWN_ROOTS = "own-roots:"
"""Prefix of the keystores' digest if the truststore has the roots of its own trust domain only."""
VIEW, VIEW_STATE, VIEW_CUTOFFS = token_grants.FILE, "view.state", "view.cutoffs.json"
BUNDLE, BUNDLE_MAP = "bundle.json", "bundle-map.json"
WHOLE, NARROWED = b"whole", b"narrowed"
"""Names in an issuer's Secret besides its keys: the view, whether it is complete, the oldest
identity of each namespace that has no part in it, and the bundle, which ConfigMaps have too.
"""
MOST_CUTOFFS = 64 * 1024
"""Maximum size of `VIEW_CUTOFFS` in bytes."""
NEVER = "never"
"""Value of the annotation `REPLACED_AT` of a Secret of which nothing was replaced yet."""
MOST_SHARED = 1 << 14
"""Size in bytes from which a public value is not shared among Secrets."""
AFTER_ALL = datetime.max.replace(tzinfo=UTC)


def decoded(secret: Manifest) -> dict[str, bytes]:
    """Return all of a Secret's data as bytes, without values that are not base64.

    Use it only for Secrets with few entries; see `SecretData`.
    """
    return dict(SecretData(secret).items())


def identity_secret(secret: Manifest, data: SecretData | None = None) -> IdentitySecret:
    """Return the facts of an identity's Secret; `data` is its data if it is parsed already."""
    data = data or SecretData(secret)
    leaf, fault = _leaf(data)
    annotations = secret["metadata"].get("annotations") or {}
    public = {key: data.get(key) for key in PUBLIC}
    made_for = annotations.get(KEYSTORE_DIGEST)
    digest = keystore_digest(_keystores(data)) if made_for is not None else ""
    return IdentitySecret(
        **fact_of(secret),
        leaf=leaf,
        fault=fault,
        public={key: _text(value) for key, value in public.items() if value is not None},
        keystore_intact=made_for in (digest, digest.removeprefix(OWN_ROOTS)),
        truststore_mixed=made_for == digest.removeprefix(OWN_ROOTS),
        replaced_at=_replaced_at(annotations.get(REPLACED_AT)),
    )


def _text(value: bytes) -> str:
    return _shared_text(value) if len(value) < MOST_SHARED else value.decode("utf-8", "replace")


# The identities of a trust domain have the same roots.
@lru_cache(maxsize=128)
def _shared_text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def _replaced_at(text: str | None) -> datetime | None:
    """Return the time of the last replacement; an invalid time counts as after all others."""
    if text == NEVER:
        return None
    try:
        return parse_moment(text)
    except PydanticCustomError:
        return AFTER_ALL


def _keystores(data: SecretData) -> Mapping[str, bytes]:
    return {name: data.value(name) for name in _DIGESTED}


def keystore_digest(data: Mapping[str, bytes]) -> str:
    """Return the SHA-256 of a Secret's keystores and of what they were made from.

    It is compared instead of opening them, because the writer of a file determines how long that
    takes. Older versions wrote it without `OWN_ROOTS`.
    """
    digest = hashlib.sha256()
    for key in _DIGESTED:
        digest.update(hashlib.sha256(data.get(key, b"")).digest())
    return OWN_ROOTS + digest.hexdigest()


def _leaf(data: SecretData) -> tuple[Leaf | None, Fault | None]:
    """Return the leaf, if certificate and key exist and match."""
    try:
        leaf = leaf_of(data.chain(LEAF))
    except PKIError as error:
        return None, Fault(error.reason, str(error))
    return leaf, data.key_fault(LEAF, KEY)


def authority_secret(secret: Manifest, data: SecretData | None = None) -> AuthoritySecret:
    """Return the facts of a CA's Secret; `data` is its data if it is parsed already."""
    data = data or SecretData(secret)
    prepared = data.value(NEXT_LEAF, MAX_CHAIN_BYTES)
    return AuthoritySecret(
        **fact_of(secret),
        certificates=data.value(LEAF, MAX_CHAIN_BYTES),
        roots=data.get(ROOTS, MAX_CHAIN_BYTES),
        key_fault=data.key_fault(LEAF, KEY),
        prepared=prepared,
        prepared_roots=data.get(NEXT_ROOTS, MAX_CHAIN_BYTES),
        prepared_fault=data.key_fault(NEXT_LEAF, NEXT_KEY) if prepared else None,
        retiring=data.value(RETIRING, MAX_CHAIN_BYTES),
        retiring_roots=data.get(RETIRING_ROOTS, MAX_CHAIN_BYTES),
        plain=data.value(PLAIN, MAX_CHAIN_BYTES),
        prepared_plain=data.value(NEXT_PLAIN, MAX_CHAIN_BYTES),
        retiring_plain=data.value(RETIRING_PLAIN, MAX_CHAIN_BYTES),
        retired=read_roots(data.value(RETIRED, MOST_BYTES)),
    )


def known_authority(secret: AuthoritySecret, trust_domain: str) -> KnownAuthority:
    """Return a CA's Secret as the authority of a trust domain."""
    try:
        authority = load_authority(
            secret.certificates, None, secret.roots, trust_domain, secret.plain
        )
    except PKIError as error:
        return KnownAuthority(secret, None, Fault(error.reason, str(error)))
    if secret.key_fault is not None:
        return KnownAuthority(secret, None, secret.key_fault)
    return KnownAuthority(
        secret,
        authority,
        None,
        prepared=None
        if secret.prepared_fault
        else _slot(secret.prepared, secret.prepared_roots, secret.prepared_plain, trust_domain),
        retiring=_slot(secret.retiring, secret.retiring_roots, secret.retiring_plain, trust_domain),
    )


def _slot(
    certificates: bytes, roots: bytes | None, plain: bytes, trust_domain: str
) -> Authority | None:
    """Return the next or previous authority, None if there is none that is usable."""
    if not certificates:
        return None
    try:
        return load_authority(certificates, None, roots, trust_domain, plain)
    except PKIError:
        return None


def tokens_secret(secret: Manifest) -> TokensSecret:
    """Return the facts of an issuer's Secret."""
    data = SecretData(secret)
    common = fact_of(secret)
    replaced = _replaced_at((secret["metadata"].get("annotations") or {}).get(REPLACED_AT))
    return TokensSecret(
        **common,
        **signing_keys(data, ISSUERS, common["ref"]),
        view=data.value(VIEW),
        bundle=data.value(BUNDLE),
        replaced_at=replaced if replaced != AFTER_ALL else None,
        narrowed=data.value(VIEW_STATE, len(NARROWED)) == NARROWED,
        cutoffs=read_cutoffs(data.value(VIEW_CUTOFFS, MOST_CUTOFFS)),
        retired=read_keys(data.value(RETIRED, MOST_BYTES)),
    )


def write_cutoffs(cutoffs: Mapping[str, Cutoff]) -> bytes:
    """Return the cutoffs of a view as JSON, without those that have no room."""
    rows: list[list[str]] = []
    size = 2
    for namespace, cutoff in sorted(cutoffs.items()):
        row = [namespace, format_time(cutoff.created), cutoff.name]
        size += len(to_json(row)) + 1
        if size > MOST_CUTOFFS:
            break
        rows.append(row)
    return to_json(rows)


def read_cutoffs(text: bytes) -> dict[str, Cutoff]:
    """Return the cutoffs of a view, none if they are unreadable."""
    try:
        rows = read_json(text, MOST_CUTOFFS) if text else []
        return {
            str(namespace): Cutoff(parse_moment(created), str(name))
            for namespace, created, name in rows
        }
    except (ValueError, TypeError):
        return {}


def network_policy(policy: Manifest) -> Content:
    """Return the facts of a NetworkPolicy."""
    annotations = policy["metadata"].get("annotations") or {}
    return Content(
        **fact_of(policy),
        text=canonical(policy.get("spec") or {}),
        live_peers=annotations.get(LIVE_PEERS, ""),
    )


def config_map(manifest: Manifest) -> Content:
    """Return the facts of a ConfigMap."""
    text = canonical(manifest.get("data") or {})
    return Content(**fact_of(manifest), text=text, created=created_at(manifest))


def created_at(manifest: Manifest) -> datetime | None:
    """Return the time of creation of an object, None if it is unreadable."""
    try:
        return parse_moment(manifest["metadata"].get("creationTimestamp"))
    except ValueError:
        return None


def first_accepted(record: Content) -> datetime | None:
    """Return the time in a record of gateway-only trust; None if a bundle has its name."""
    if record.labels.get(OWNER_KIND) == "TrustDomain":
        return None
    try:
        return parse_moment(record.content.get(TRUST_RECORD_KEY))
    except ValueError:
        return UNREADABLE


def service(manifest: Manifest) -> Service:
    """Return the facts of a Service."""
    spec = manifest.get("spec") or {}
    ports = tuple(
        ServicePort(each["port"], each.get("targetPort") or each["port"])
        for each in spec.get("ports") or ()
        if "port" in each and each.get("protocol", "TCP") == "TCP"
    )
    headless = spec.get("clusterIP") == "None"
    return Service(Ref.of(manifest), spec.get("selector") or {}, ports, headless)


def endpoints(endpoint_slice: Manifest) -> frozenset[Endpoint]:
    """Return the ready addresses and TCP ports of an EndpointSlice."""
    ports = [
        port["port"]
        for port in endpoint_slice.get("ports") or []
        if port.get("port") and port.get("protocol", "TCP") == "TCP"
    ]
    return frozenset(
        Endpoint(address, port)
        for endpoint in endpoint_slice.get("endpoints") or []
        if (endpoint.get("conditions") or {}).get("ready") is not False
        for address in endpoint.get("addresses") or []
        for port in ports
    )


def fact_of(manifest: Manifest) -> dict[str, Any]:
    """Return the members of `Fact` for an object."""
    metadata = manifest["metadata"]
    return {
        "ref": Ref.of(manifest),
        "uid": metadata.get("uid", ""),
        "resource_version": metadata.get("resourceVersion", ""),
        "labels": metadata.get("labels") or {},
        "owner_uids": tuple(
            owner["uid"] for owner in metadata.get("ownerReferences") or [] if "uid" in owner
        ),
    }
