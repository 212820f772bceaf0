"""Reprs and errors never contain the content of a Secret.

Log lines, failed assertions and debuggers show objects by their `repr`, without regard to the
content.
"""

import base64
import dataclasses
import gc
import importlib
import inspect
import pkgutil
import traceback
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

import pytest

import troth
from tests import builders
from tests.leaks.searching import Search
from tests.pki.builders import by_hand
from troth.cluster.errors import ApiError
from troth.pki.bundles.keystores import pkcs12_keystore, pkcs12_truststore
from troth.pki.bundles.trust_bundle import parse_bundle
from troth.pki.certificates.authorities import load_authority, load_signing_authority
from troth.pki.certificates.leaf import parse_leaf
from troth.pki.encodings.pem import read_certificates
from troth.pki.keys.parsing import PrivateKey
from troth.pki.keys.private import load_private_key
from troth.reconcile.apply.execute import Executor
from troth.reconcile.rehearsal import Rehearsal
from troth.resources.references import Ref
from troth.world.observation.objects import authority_secret, identity_secret

ROOT = by_hand("root")
KEY = ROOT.key_pem
DOMAIN = "production.example"


@cache
def knowing() -> Search:
    search = Search()
    search.keep_key("the key", ROOT.key)
    return search


# Objects

PUBLIC = {
    "troth.pki.certificates.authorities.Authority": (
        "certificates, written again from what was parsed"
    ),
    "troth.planning.steps.certificates.IssueLeaf": "roots",
    "troth.planning.steps.certificates.UpdatePublic": "roots",
    "troth.planning.network.policy_inputs.NetworkClaim": "labels of the issuer's pods",
    "troth.planning.network.compiler.Compiled": "the spec of a NetworkPolicy",
    "troth.planning.network.live_peers.PeerRule": "labels of a peer's pods",
    "troth.planning.network.live_peers.CurrentPolicy": "labels of peers' pods",
    "troth.planning.plan.Plan": "a status",
    "troth.reconcile.drift.backoff.Written": "a digest of what was written",
    "troth.reconcile.drift.backoff._History": "digests of what was written",
    "troth.planning.identity.facts.View": "roots, written again from what was parsed",
    "troth.planning.trust_domain.facts.DomainView": "roots, written again from what was parsed",
    "troth.planning.trust_domain.facts.Federated": "roots, written again from what was parsed",
    "troth.cli.rotate.rotation_request.Request": "one of Troth's own resources",
    "troth.cli.rotate.wait.Followed": "one of Troth's own resources",
    "troth.cli.inputs.latest.Latest": "Troth's own resources",
    "troth.cli.status.collect._Seen": "Troth's own resources",
    "troth.webhooks.gateway.certificates._Kept": "a certificate that AWS publishes",
    "troth.replay.valkey._Script": "a script that is in this package",
    "troth.webhooks.schemes.providers.described.scheme.DescribedHMAC": (
        "names of headers, from a WebhookEndpoint"
    ),
    "troth.webhooks.schemes.providers.described.signed_text.SignedText": (
        "a template, from a WebhookEndpoint"
    ),
    "troth.webhooks.schemes.families.timed_header.TimedHeader": "names of a header and its members",
    "troth.world.facts.objects.Content": "a NetworkPolicy or a ConfigMap",
    "troth.world.facts.objects.Unreadable": "one of Troth's own resources, as it came",
}
"""Dataclasses whose repr shows bytes or whole objects, with the reason why these are public."""


def classes() -> list[type]:
    """Return every dataclass of the package."""
    found = set()
    for module in pkgutil.walk_packages(troth.__path__, "troth."):
        if module.name.endswith("__main__"):
            continue
        members = inspect.getmembers(importlib.import_module(module.name), inspect.isclass)
        found |= {kind for _, kind in members if kind.__module__ == module.name}
    return sorted(filter(dataclasses.is_dataclass, found), key=_name)


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def planted(kind: type) -> object:
    """Return an instance with a private key in each field whose type allows one, except strings."""
    made: object = object.__new__(kind)
    hints = typing.get_type_hints(kind)
    for field in dataclasses.fields(kind):
        object.__setattr__(made, field.name, _fitting(hints[field.name]))
    return made


def _fitting(hint: Any) -> Any:
    whole = {"data": {"tls.key": base64.b64encode(KEY).decode()}}
    if hint is bytes:
        return KEY
    if hint is Any or hint is object:
        return whole
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint in typing.get_args(PrivateKey):
        return ROOT.key
    if origin in (typing.Union, types.UnionType):
        return next((value for each in inner if (value := _fitting(each)) is not None), None)
    if inspect.isclass(origin) and issubclass(origin, Mapping):
        return whole if _fitting(inner[-1]) else None
    if inspect.isclass(origin) and inner and origin in (tuple, list, frozenset, set):
        value = _fitting(inner[0])
        return None if value is None else [value]
    return None


@pytest.mark.parametrize("kind", classes(), ids=_name)
def test_no_repr_shows_a_field_that_may_be_a_key(kind: type) -> None:
    shown = knowing().found(_name(kind), repr(planted(kind)))
    assert bool(shown) == (_name(kind) in PUBLIC), (
        "hide the field with repr=False, or say in PUBLIC what it holds"
    )


def test_fields_listed_as_public_exist() -> None:
    assert PUBLIC.keys() <= {_name(kind) for kind in classes()}


async def test_no_object_of_a_running_operator_shows_a_secret() -> None:
    """Checks every object of the package in memory, after every kind of credential was issued."""
    own = builders.OWN
    given = {"tls_crt": ROOT.pem, "tls_key": KEY}
    cluster = Rehearsal(
        [
            builders.namespace("shop", domain="production"),
            builders.namespace("finance", domain="given"),
            builders.domain(),
            builders.domain("given", authority={"secretRef": {"name": "corporate"}}),
            builders.secret("corporate", own, **given),
            builders.identity("ledger", "finance"),
            builders.identity(authentication={"mtls": {"keystores": ["PKCS12"]}}),
        ]
    )
    engine = await cluster.converge(own, builders.NOW)
    search = knowing()
    secrets = [each for (kind, _), each in cluster.objects.items() if kind == "Secret"]
    assert {"payments-identity", "ledger-identity", "production-authority"} <= {
        each["metadata"]["name"] for each in secrets
    }
    for secret in secrets:
        search.keep_secret(secret)
    objects = [each for each in gc.get_objects() if is_ours(type(each))]
    assert {Rehearsal, Executor, type(engine), type(engine.world)} <= set(map(type, objects))
    for each in objects:
        for text in (repr(each), str(each)):
            assert search.found(_name(type(each)), text) == []


def is_ours(kind: type) -> bool:
    return str(kind.__module__).startswith("troth.")


# Errors and facts

BROKEN = {
    "cut short": KEY[:-40],
    "without its end": KEY[: len(KEY) // 2],
    "without its beginning": KEY[30:],
    "behind a certificate": ROOT.pem + KEY,
    "twice": KEY + KEY,
    "as base64": base64.b64encode(KEY),
    "in quotes": b'"' + KEY.replace(b"\n", b"\\n") + b'"',
    "said to be a certificate": KEY.replace(b"PRIVATE KEY", b"CERTIFICATE"),
    "in another encoding": KEY.decode().encode("utf-16"),
    "whole": KEY,
}
READERS: dict[str, Callable[[bytes], object]] = {
    "load_private_key": load_private_key,
    "read_certificates": lambda value: read_certificates(value, "tls.crt"),
    "load_authority": lambda value: load_authority(value, value, value, DOMAIN),
    "load_signing_authority": lambda value: load_signing_authority(ROOT.pem, value, None, DOMAIN),
    "parse_leaf": parse_leaf,
    "parse_bundle": lambda value: parse_bundle(value.decode("latin-1")),
    "pkcs12_keystore": lambda value: pkcs12_keystore(ROOT.key, value, [value], "a password"),
    "pkcs12_truststore": lambda value: pkcs12_truststore([value], "a password"),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("broken", BROKEN)
def test_errors_never_quote_their_input(broken: str, reader: str) -> None:
    try:
        READERS[reader](BROKEN[broken])
    except Exception as error:  # noqa: BLE001 - any error may be logged
        told = [repr(error), str(error.args), *traceback.format_exception(error)]
        assert knowing().found(reader, "".join(told)) == []


def test_api_errors_do_not_show_their_message() -> None:
    error = ApiError(422, "Invalid", f"Secret is invalid: data: {KEY.decode()}")
    told = [repr(error), str(error.args), *traceback.format_exception(error)]
    assert knowing().found("an error", "".join(told)) == []


def secrets_with(value: bytes) -> Iterator[dict[str, Any]]:
    """Yield Secrets with the value under each key in turn."""
    sound = {"tls.crt": ROOT.pem, "tls.key": KEY, "ca.crt": ROOT.pem}
    for place in ("tls.crt", "tls.key", "ca.crt", "identity.json", "next.crt", "retiring.crt"):
        data = {**sound, place: value}
        encoded = {name: base64.b64encode(each).decode() for name, each in data.items()}
        yield {"kind": "Secret", "metadata": {"name": "a", "namespace": "b"}, "data": encoded}


@pytest.mark.parametrize("broken", BROKEN)
def test_facts_show_no_key_under_any_name(broken: str) -> None:
    for secret in secrets_with(BROKEN[broken]):
        for read in (identity_secret, authority_secret):
            fact = read(secret)
            assert fact.ref == Ref("b", "a")
            assert knowing().found(read.__name__, repr(fact)) == []
