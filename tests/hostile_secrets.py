"""The most expensive Secrets that a user with rights in one namespace can create."""

import base64
from collections.abc import Iterator, Mapping

from tests import builders
from tests.builders import Manifest
from tests.pki import builders as pki
from tests.pki.keys.large_keys import large_key, pem
from troth.world.facts.objects import MANAGED_BY
from troth.world.index.webhook_signing import TYPE as SIGNING
from troth.world.observation.broker_secrets import TYPE as CREDENTIAL
from troth.world.observation.secret_data import MOST_ENTRIES
from troth.world.observation.webhook_secrets import COMPILED_TYPE, GENERATED_TYPE, GIVEN_LABEL

GIVEN, OURS = {GIVEN_LABEL: "true"}, {MANAGED_BY: "troth"}
ENTRIES = 100_000
MEGABYTE = 1_000_000
TYPES = {
    "generated": GENERATED_TYPE,
    "credential": CREDENTIAL,
    "shop.compiled": COMPILED_TYPE,
    "edge-webhook-signing": SIGNING,
}


def secret(
    name: str,
    namespace: str,
    labels: Mapping[str, str],
    data: Mapping[str, bytes],
    type_: str = "Opaque",
) -> Manifest:
    encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
    made = builders.secret(name, namespace)
    metadata = {**made["metadata"], "labels": dict(labels)}
    return {**made, "type": type_, "metadata": metadata, "data": encoded}


def with_large_keys(namespace: str) -> Iterator[Manifest]:
    """Yield Secrets with large RSA keys, under every name where Troth expects a key, and large
    values.
    """
    leaf = pki.leaf(pki.own_root())
    for bits in (8192, 16384):
        key = pem(large_key(bits))
        for kind, labels in (("given", GIVEN), ("ours", OURS)):
            data = {"tls.crt": leaf, "tls.key": key}
            yield secret(f"rsa-{bits}-{kind}", namespace, labels, data)
            keys = {f"key{number}": key for number in range(MOST_ENTRIES)}
            yield secret(f"rsa-{bits}-each-{kind}", namespace, labels, keys)
        data = {"key.pem": key, "next.pem": key}
        name = f"rsa-{bits}-webhook-signing"
        yield secret(name, namespace, OURS, data, SIGNING)
    data = {"tls.crt": leaf, "tls.key": b"-" * MEGABYTE}
    yield secret("megabyte-given", namespace, GIVEN, data)
    yield secret("megabyte-ours", namespace, OURS, data)
    chains = {"tls.crt": leaf * (MEGABYTE // len(leaf)), "tls.key": pem(large_key(8192))}
    yield secret("chains", namespace, OURS, chains)


def of_authorities(own_namespace: str) -> Iterator[Manifest]:
    """Yield Secrets of given CAs and of issuers, with large RSA keys."""
    authority = pki.by_hand("corporate").pem
    for bits in (8192, 16384):
        key = pem(large_key(bits))
        data = {"tls.crt": authority, "tls.key": key, "next.crt": authority, "next.key": key}
        yield secret(f"own-rsa-{bits}", own_namespace, {}, data)
        keys = {"current.key": key, "next.key": key}
        yield secret(f"rsa-{bits}-tokens", own_namespace, {}, keys)


def crowded(
    namespace: str, types: Mapping[str, str] = TYPES, entries: int = ENTRIES
) -> Iterator[Manifest]:
    """Yield Secrets with many entries, by default as many as an API server accepts, with each label
    and of each type.
    """
    many = {f"{number:x}": b"" for number in range(entries)}
    yield secret("many-given", namespace, GIVEN, many)
    yield secret("many-ours", namespace, OURS, many)
    for name, type_ in types.items():
        yield secret(f"many-{name}", namespace, OURS, many, type_)
