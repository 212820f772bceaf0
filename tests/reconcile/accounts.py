"""Comparable account of everything that Troth wrote and plans, without random values.

Certificates are represented by their contents, because serial numbers and fingerprints differ
between runs. The key in use is a part of its own, `key`. Each part has a name, so that a test can
say in which part a change must show.
"""

import gzip
import hashlib
import json
from collections.abc import Iterator
from functools import cache
from typing import Any

from cryptography import x509

from tests.builders import OWN, Manifest
from tests.reconcile.memory_brokers import MemoryBrokers
from tests.reconcile.serving import Running
from troth.cli import graph
from troth.cli.grants.report import everything_granted
from troth.cli.output import Output, structured
from troth.documents.secret_keys import IDENTITY_JSON, KEY, LEAF, ROOTS, WEBHOOK_KEYS
from troth.pki.bundles.spiffe_bundle import parse_bundle_map
from troth.pki.encodings.pem import public_key
from troth.pki.keys.private import algorithm_of
from troth.planning.grants.finalizer import FINALIZER
from troth.resources.kinds import KIND_BY_NAME
from troth.resources.schema.model import Model
from troth.trust.declarations.trust_records import RECORD_PREFIX
from troth.trust.edges.declared import all_edges
from troth.world.facts.objects import (
    KEYSTORE_DIGEST,
    MANAGED_BY,
    REPLACED_AT,
)
from troth.world.index import webhook_signing
from troth.world.observation import objects as observe
from troth.world.observation.broker_secrets import DIGEST, STATE, TYPE, public_keys
from troth.world.observation.ledger import kept_ledger
from troth.world.observation.retired import RETIRED
from troth.world.observation.signing_keys import GATEWAYS, ISSUERS
from troth.world.observation.webhook_secrets import (
    COMPILED_DIGEST,
    COMPILED_TYPE,
    COMPILED_WITH,
    GENERATED_TYPE,
)

Part = tuple[str, str]
"""Name of the part, and the place or owner."""
Account = dict[Part, Any]

RANDOM = {"fingerprint", "serial", "authority"}
HISTORY = {"observedGeneration", "observed"}
"""Members of a status that depend on when it was written; `observed` changes once a minute."""
RETIRED_IN_STATUS = ("retiredAuthorities", "retiredTokenKeys")
TIMES = {
    "notAfter",
    "renewAt",
    "lastTransitionTime",
    "lastRotated",
    "nextRotation",
    "madeAt",
    "since",
}
OURS = {"TrustDomain", "ServiceIdentity", "CredentialRotation", "MessageBroker", "TopicPolicy"}
WEBHOOKS = {webhook_signing.TYPE, COMPILED_TYPE, GENERATED_TYPE}
FILES = {
    "authority": (
        *(LEAF, observe.NEXT_LEAF, observe.RETIRING),
        *(observe.PLAIN, observe.NEXT_PLAIN, observe.RETIRING_PLAIN),
    ),
    "certificate": (LEAF,),
}


def account(it: Running, brokers: MemoryBrokers, *, times: bool = True) -> Account:
    """Return the current account; without `times`, only the parts that do not depend on time."""
    return dict(_parts(it, times=times)) | dict(_granted(it, brokers))


def _granted(it: Running, brokers: MemoryBrokers) -> Iterator[tuple[Part, Any]]:
    """Yield the rules and credentials of each broker in use."""
    for ref, broker in it.engine.world.brokers.messaging.brokers.items():
        told = brokers.known.get(broker.spec.servers)
        if told is not None:
            yield ("rules", str(ref)), (sorted(told.seen.rules), sorted(told.seen.credentials))


def _parts(it: Running, *, times: bool) -> Iterator[tuple[Part, Any]]:
    for (kind, ref), manifest in it.server.objects.items():
        where = str(ref)
        if kind in OURS:
            status = stored_status(manifest)
            retired = [len(status.pop(name, ())) for name in RETIRED_IN_STATUS]
            if any(retired):
                yield ("retired", f"{kind} {where}"), retired
            trusted_since = status.pop("gatewayTrustedSince", None)
            if trusted_since is not None:
                yield ("trust record", f"{kind} {where}"), trusted_since
            yield ("status", f"{kind} {where}"), _status(status, times=times)
            yield ("marks", f"{kind} {where}"), _marks(manifest)
            for each in manifest.get("status", {}).get("conditions", []):
                if each["type"] == "Braked":
                    yield ("brake", where), each["status"]
        elif kind == "ConfigMap" and ref.name.startswith(RECORD_PREFIX):
            yield ("trust record", f"{kind} {where}"), (_marks(manifest), manifest["data"])
        elif _labels(manifest).get(MANAGED_BY) == "troth":
            yield ("marks", f"{kind} {where}"), _marks(manifest)
            yield from _child(kind, where, manifest, times=times)
    world = it.engine.world
    edges = all_edges(world.registry, it.clock.now())
    yield (
        ("graph", ""),
        structured(graph.document(world.registry, edges, everything_granted(world)), Output.JSON),
    )
    if times:
        yield from ((("due", str(key)), moment) for key, moment in it.engine.queue._due.items())


def _child(kind: str, where: str, manifest: Manifest, *, times: bool) -> Iterator[tuple[Part, Any]]:
    match kind:
        case "NetworkPolicy":
            yield ("policy", where), manifest["spec"]
        case "ConfigMap" if where.startswith(f"{OWN}/troth-ledger-"):
            ledger = kept_ledger(manifest).ledger
            told = sorted(ledger.rules), sorted(ledger.retained), sorted(ledger.credentials)
            yield ("ledger", where), told
        case "ConfigMap":
            roots = manifest["data"][ROOTS].encode()
            bundles = parse_bundle_map(manifest["data"][observe.BUNDLE_MAP])
            keys = {name: len(bundle.jwt_keys) for name, bundle in bundles.items()}
            yield ("bundle", where), (sorted(map(_description, _read(roots))), keys)
        case "Secret" if where.endswith("-tokens"):
            yield from _tokens(where, observe.decoded(manifest))
        case "Secret" if manifest.get("type") == TYPE:
            data = observe.decoded(manifest)
            said = json.loads(data[STATE])
            public = {name: data[name] for name in sorted(public_keys() & data.keys())}
            yield ("credential", where), (said["principal"], sorted(data), public)
            yield ("key", where), hashlib.sha256(data[STATE]).hexdigest()
        case "Secret" if manifest.get("type") in WEBHOOKS:
            yield from _of_webhooks(where, observe.decoded(manifest))
        case "Secret":
            own = where.startswith(f"{OWN}/")
            data, what = observe.decoded(manifest), "authority" if own else "certificate"
            yield (
                (what, where),
                [_certificates(data[name], times=times) for name in FILES[what] if name in data],
            )
            yield ("key", where), hashlib.sha256(data[KEY]).hexdigest()
            if not own:
                peers = json.loads(data[IDENTITY_JSON])
                yield ("webhooks", where), _webhooks(peers.pop("webhooks", []), data)
                yield ("peers", where), peers
                yield ("roots", where), sorted(map(_description, _read(data[ROOTS])))
                yield ("files", where), sorted(data)


def _of_webhooks(where: str, data: dict[str, bytes]) -> Iterator[tuple[Part, Any]]:
    """Yield the endpoint configuration, file names and key of a webhook Secret."""
    endpoint = data.pop("endpoint.json", None)
    if endpoint is not None:
        yield ("endpoint", where), json.loads(endpoint)
    key = data.get(GATEWAYS.active) or repr(sorted(data.items())).encode()
    yield ("files", where), sorted(data)
    yield ("key", where), hashlib.sha256(key).hexdigest()


def _webhooks(entries: list[Any], data: dict[str, bytes]) -> Any:
    """Return each gateway entry with its number of keys, and the total number of keys."""
    told = [{**each, "keys": len(each["keys"]["keys"])} for each in entries]
    return told, len(json.loads(data.get(WEBHOOK_KEYS, b'{"keys": []}'))["keys"])


NO_VIEW = gzip.compress(b"{}")


def _tokens(where: str, data: dict[str, bytes]) -> Iterator[tuple[Part, Any]]:
    view = json.loads(gzip.decompress(data.get(observe.VIEW, NO_VIEW)))
    yield ("tokens", where), (sorted(data.keys() - {RETIRED}), view)
    yield ("key", where), hashlib.sha256(data[ISSUERS.active]).hexdigest()


def _marks(manifest: Manifest) -> Manifest:
    """Return an object's labels, owners, annotations and finalizers."""
    metadata = manifest["metadata"]
    annotations = dict(metadata.get("annotations") or {})
    if KEYSTORE_DIGEST in annotations:  # a digest of random content
        right = observe.keystore_digest(observe.decoded(manifest))
        annotations[KEYSTORE_DIGEST] = annotations[KEYSTORE_DIGEST] == right
    annotations.pop(REPLACED_AT, None)  # depends on earlier renewals
    for each in (DIGEST, COMPILED_DIGEST, COMPILED_WITH):  # digests of random content
        annotations.pop(each, None)
    return {
        "labels": _labels(manifest),
        "annotations": annotations,
        # compared by name: a recreated owner has another UID
        "owners": [{**each, "uid": ""} for each in metadata.get("ownerReferences") or ()],
        # Troth's own finalizer stays after the last grant is gone
        "finalizers": [each for each in metadata.get("finalizers") or () if each != FINALIZER],
    }


def _labels(manifest: Manifest) -> dict[str, str]:
    return dict(manifest["metadata"].get("labels") or {})


def stored_status(manifest: Manifest) -> Manifest:
    """Return a status with its defaults, as the API server stores it."""
    of_kind = KIND_BY_NAME[manifest["kind"]].model.model_fields["status"].annotation
    assert isinstance(of_kind, type)
    assert issubclass(of_kind, Model)
    return of_kind.model_validate(manifest.get("status", {})).manifest()


def _status(part: Any, *, times: bool) -> Any:
    match part:
        case dict():
            return {
                name: "..."
                if name in RANDOM or (name in TIMES and not times)
                else _status(value, times=times)
                for name, value in part.items()
                if name not in HISTORY
            }
        case list():
            return [_status(each, times=times) for each in part]
        case _:
            return part


@cache
def _read(pem: bytes) -> tuple[x509.Certificate, ...]:
    return tuple(x509.load_pem_x509_certificates(pem))


def _certificates(pem: bytes, *, times: bool) -> list[tuple[str, str]]:
    """Return the contents of a file's certificates, and with `times` their start of validity."""
    return [
        (_description(each), str(each.not_valid_before_utc) if times else "") for each in _read(pem)
    ]


@cache
def _description(certificate: x509.Certificate) -> str:
    lifetime = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    said = [algorithm_of(public_key(certificate)).value, str(lifetime)]
    for extension in certificate.extensions:
        match extension.value:
            case x509.SubjectAlternativeName() as names:
                said += [name.value for name in names if hasattr(name, "value")]
            case x509.NameConstraints() as constraints:
                said += [f"only {name.value}" for name in constraints.permitted_subtrees or ()]
    return " ".join(said)
