"""Errors about webhook Secrets name the invalid part and quote nothing."""

import base64
import copy
import json
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from tests.cli.webhooks import text_of
from tests.leaks.searching import Search
from tests.leaks.test_reprs import BROKEN, ROOT, knowing
from tests.webhooks.gateway.running import SECRET, endpoint, target
from troth.documents.webhook_endpoint import EndpointError
from troth.replay.valkey import Valkey
from troth.resources.references import Ref
from troth.resources.webhooks.schemes import SchemeName
from troth.webhooks.gateway.forwarding.signing import SigningKey
from troth.webhooks.gateway.routes import served
from troth.world.observation.webhook_secrets import compiled_secret, keys_secret

URL = "https://hooks.example/shop/stripe"
TOPIC = "arn:aws:sns:eu-west-1:123456789012:orders"
SIGNING: dict[SchemeName, dict[str, Any]] = {
    SchemeName.HMAC: {"described": {"header": "x-a", "signed": "{id}.{body}", "idHeader": "x-id"}},
    SchemeName.SNS: {"topics": [TOPIC]},
    SchemeName.HTTP_SIGNATURES: {"components": ["date"]},
}
"""Additional settings of some schemes."""


def of_scheme(name: SchemeName) -> dict[str, Any]:
    """Return an `endpoint.json` of a scheme with every optional field."""
    shown = {"sans": ["DNS:a.example"], "authorities": ROOT.pem.decode()}
    return endpoint(
        signing={"name": name.value, "url": URL} | SIGNING.get(name, {}),
        source={"cidrs": ["10.0.0.0/8"], "clientCertificate": shown},
        target=target(9443),
        acceptsUnsignedUntil=1 if name is SchemeName.GITLAB_TOKEN else None,
    )


def data(document: Any, key: bytes) -> dict[str, bytes]:
    """Return the data of a compiled Secret."""
    return {"endpoint.json": json.dumps(document).encode(), "key.k1": key}


def with_key(document: dict[str, Any], key: bytes) -> object:
    return served(data(document, key))


READERS: dict[str, Callable[[bytes], object]] = {
    "an endpoint": lambda value: served({"endpoint.json": value}),
    "a gateway's key": lambda value: SigningKey().take({"key.pem": value}),
    "a replay store": lambda value: Valkey(value.decode("latin-1")),
    **{f"a key for {name}": partial(with_key, of_scheme(name)) for name in SchemeName},
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("broken", BROKEN)
def test_errors_never_quote_their_input(broken: str, reader: str) -> None:
    try:
        READERS[reader](BROKEN[broken])
    except Exception as error:  # noqa: BLE001 - any error may be logged
        told = [repr(error), str(error.args), *traceback.format_exception(error)]
        assert knowing().found(reader, "".join(told)) == []


@pytest.mark.parametrize("name", SchemeName)
def test_errors_never_quote_a_secret_in_a_compiled_endpoint(
    name: SchemeName,
) -> None:
    """The secret is misplaced as a value, within a value, and as the name of a member."""
    search = Search()
    search.keep("the secret", SECRET.encode())
    whole = of_scheme(name)
    served(data(whole, text_of(name)))  # valid before anything is misplaced
    said = []
    for document in misplaced(whole):
        try:
            served(data(document, text_of(name)))
        except EndpointError as error:
            said.append(str(error))
    assert len(said) > len(whole)
    assert search.found("an error", "\n".join(said)) == []


def misplaced(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield documents with the secret in each place in turn."""
    wrong = (
        *(SECRET, [SECRET], {SECRET: SECRET}),
        *(f"https://a.example/{SECRET}", f"spiffe://{SECRET}", f"spiffe://a.example/{SECRET}"),
    )
    for path in paths(document):
        for each in wrong:
            yield changed(document, path, each)
        if isinstance(at(document, path), dict):
            yield changed(document, (*path, SECRET), 1)
    yield {**document, SECRET: 1}


def paths(value: Any, *path: str | int) -> Iterator[tuple[str | int, ...]]:
    """Yield the path of every part of a document, at every depth."""
    for name, part in value.items() if isinstance(value, dict) else enumerate(value):
        yield *path, name
        if isinstance(part, dict | list):
            yield from paths(part, *path, name)


def changed(document: dict[str, Any], path: tuple[str | int, ...], part: Any) -> dict[str, Any]:
    copied = copy.deepcopy(document)
    at(copied, path[:-1])[path[-1]] = part
    return copied


def at(value: Any, path: tuple[str | int, ...]) -> Any:
    for name in path:
        value = value[name]
    return value


@pytest.mark.parametrize("broken", BROKEN)
def test_facts_of_webhook_secrets_show_no_key(broken: str) -> None:
    value = base64.b64encode(BROKEN[broken]).decode()
    metadata = {"name": "shop.orders", "namespace": "troth-gateway"}
    for name in ("k1", "key.k1", "endpoint.json"):
        secret = {"kind": "Secret", "metadata": metadata, "data": {name: value}}
        for read in (keys_secret, compiled_secret):
            fact = read(secret)
            assert fact.ref == Ref("troth-gateway", "shop.orders")
            assert knowing().found(read.__name__, repr(fact)) == []
