"""Generation of the private parts of Secrets. Run slow functions outside the event loop."""

import base64
import json
from collections.abc import Mapping
from datetime import datetime

from cryptography.hazmat.primitives.asymmetric import rsa

from troth.documents.secret_keys import KEY, LEAF, ROOTS
from troth.pki.bundles.keystores import keystore_password, pkcs12_keystore, pkcs12_truststore
from troth.pki.certificates.authorities import SigningAuthority
from troth.pki.certificates.issuing import create_root, issue
from troth.pki.certificates.pairs import plain_certificate
from troth.pki.encodings.pem import read_certificates, write_certificates
from troth.pki.keys.parsing import PrivateKey
from troth.pki.keys.private import generate_key, private_key_pem
from troth.planning.steps.authorities import AdoptAuthority, CreateRoot, PrepareRoot
from troth.planning.steps.certificates import IssueLeaf, UpdatePublic
from troth.planning.steps.signing_keys import (
    ActivateTokenKey,
    CreateTokenKey,
    PrepareTokenKey,
    UpdateIssuer,
)
from troth.resources.algorithms import KeyAlgorithm
from troth.resources.schema.scalars import format_time
from troth.world.facts.objects import KEYSTORE_DIGEST, Manifest
from troth.world.observation.objects import (
    KEYSTORE,
    NEXT_KEY,
    NEXT_LEAF,
    NEXT_PLAIN,
    NEXT_ROOTS,
    PASSWORD,
    PLAIN,
    TRUSTSTORE,
    keystore_digest,
)


def root_secret(step: CreateRoot, now: datetime) -> Manifest:
    """Return the Secret of a new root."""
    certificate, key, plain = _new_root(step, now)
    data = {LEAF: certificate, KEY: key} | ({PLAIN: plain} if plain else {})
    return _with_data(step.manifest, data)


def plain_root(signer: SigningAuthority) -> dict[str, str]:
    """Return the data of the plain certificate of a confined root, for the root's Secret."""
    return {PLAIN: _encoded(plain_certificate(signer.certificate, signer.private_key))}


def next_root(step: PrepareRoot, now: datetime) -> dict[str, str]:
    """Return the data of the next root, for the Secret of the active one."""
    certificate, key, plain = _new_root(step, now)
    data = {NEXT_LEAF: certificate, NEXT_KEY: key} | ({NEXT_PLAIN: plain} if plain else {})
    return {name: _encoded(value) for name, value in data.items()}


def _new_root(step: CreateRoot | PrepareRoot, now: datetime) -> tuple[bytes, bytes, bytes]:
    """Return a root and its key, and its plain certificate, empty for an unconfined root."""
    key = generate_key(step.algorithm)
    root = create_root(step.trust_domain, key, step.lifetime, now, constrained=step.confined)
    (certificate,) = read_certificates(root, "the root")
    plain = plain_certificate(certificate, key) if step.confined else b""
    return root, private_key_pem(key), plain


def token_key_secret(step: CreateTokenKey, now: datetime) -> Manifest:
    """Return the Secret of a new token signing key."""
    return _with_data(step.manifest, _new_token_key(step.slots.active, step.slots.made, now))


def next_token_key(step: PrepareTokenKey, now: datetime) -> dict[str, str]:
    """Return the data of the next token signing key, for the Secret of the active one."""
    data = _new_token_key(step.slots.prepared, step.slots.prepared_made, now)
    return {name: _encoded(value) for name, value in data.items()}


def _new_token_key(name: str, made: str, now: datetime) -> dict[str, bytes]:
    key = private_key_pem(generate_key(KeyAlgorithm.ECDSA_P256))
    return {name: key, made: format_time(now).encode()}


def token_key_moves(step: ActivateTokenKey) -> list[Manifest]:
    """Return the JSON patch operations by which the next key replaces the active one."""
    slots = step.slots
    moves = ((slots.prepared, slots.active), (slots.prepared_made, slots.made))
    operations: list[Manifest] = [
        {"op": "move", "from": f"/data/{old}", "path": f"/data/{new}"} for old, new in moves
    ]
    if step.retiring is None:
        return operations
    kept = _encoded(json.dumps(dict(step.retiring), sort_keys=True).encode())
    return [{"op": "add", "path": f"/data/{slots.retiring}", "value": kept}, *operations]


def issuer_data(step: UpdateIssuer) -> dict[str, str]:
    """Return an issuer's configuration without its keys, as the API server stores it."""
    return {name: _encoded(value) for name, value in step.data.items()}


def adopted_secret(step: AdoptAuthority, signer: SigningAuthority) -> Manifest:
    """Return the Secret in which Troth keeps a copy of a given CA."""
    certificates, roots = _files(signer)
    data = {LEAF: certificates, KEY: private_key_pem(signer.private_key), ROOTS: roots}
    return _with_data(step.manifest, data)


def next_given(signer: SigningAuthority) -> dict[str, str]:
    """Return the data of the next given CA, for the Secret of the active one."""
    certificates, roots = _files(signer)
    key = private_key_pem(signer.private_key)
    data = {NEXT_LEAF: certificates, NEXT_KEY: key, NEXT_ROOTS: roots}
    return {name: _encoded(value) for name, value in data.items()}


def _files(signer: SigningAuthority) -> tuple[bytes, bytes]:
    """Return an authority's chain, the issuing certificate first, and its trust anchors."""
    authority = signer.authority
    issuing = authority.certificates or (write_certificates([signer.certificate]),)
    return b"".join(issuing), b"".join(authority.anchors)


def is_slow(step: IssueLeaf, signer: SigningAuthority) -> bool:
    """Return whether issuing a leaf takes longer than the 0.2 ms that using a thread costs.

    A signature with an RSA key, or a keystore, takes some milliseconds.
    """
    return step.keystore or isinstance(signer.private_key, rsa.RSAPrivateKey)


def leaf_secret(
    step: IssueLeaf, key: PrivateKey, signer: SigningAuthority, now: datetime
) -> Manifest:
    """Return the Secret of a new leaf with a new key; raises `PKIError` if it is not allowed."""
    chain = issue(step.profile, key, signer, now)
    data = {LEAF: chain, KEY: private_key_pem(key)}
    if not step.keystore:
        return _with_data(step.manifest, data)
    password = keystore_password()
    data |= {
        KEYSTORE: pkcs12_keystore(key, chain, step.anchors, password),
        TRUSTSTORE: pkcs12_truststore(step.anchors, password),
        PASSWORD: password.encode(),
    }
    roots = step.manifest["stringData"][ROOTS].encode()
    metadata = step.manifest["metadata"]
    digest = {KEYSTORE_DIGEST: keystore_digest(data | {ROOTS: roots})}
    metadata = {**metadata, "annotations": {**metadata["annotations"], **digest}}
    return _with_data({**step.manifest, "metadata": metadata}, data)


def truststore_data(step: UpdatePublic, data: Mapping[str, bytes]) -> tuple[dict[str, str], str]:
    """Return the truststore of a Secret, as the API server stores it, and the keystores' digest.

    `data` is the Secret's, whose keystores are intact. Their password stays.
    """
    truststore = pkcs12_truststore(step.truststore, data[PASSWORD].decode())
    roots = step.manifest["stringData"][ROOTS].encode()
    digest = keystore_digest({**data, TRUSTSTORE: truststore, ROOTS: roots})
    return {TRUSTSTORE: _encoded(truststore)}, digest


def public_data(manifest: Manifest) -> dict[str, str]:
    """Return the public part of a Secret as the API server stores it."""
    return {key: _encoded(text.encode()) for key, text in manifest.get("stringData", {}).items()}


def _with_data(manifest: Manifest, data: dict[str, bytes]) -> Manifest:
    encoded = public_data(manifest) | {key: _encoded(value) for key, value in data.items()}
    rest = {key: value for key, value in manifest.items() if key != "stringData"}
    return {**rest, "data": encoded}


def _encoded(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")
