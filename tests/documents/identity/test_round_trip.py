"""Both readers find in an `identity.json` what the operator has written."""

from collections.abc import Iterator

import pytest

from tests.builders import Cluster, Manifest, accept, authority_secret, call, identity
from tests.webhook_scene import GATEWAY, HOOKS, scene, target
from troth.documents.identity.deliveries import listed_in
from troth.documents.identity.document import parse_document
from troth.documents.identity.grants import accepted, called, delivered, requires_less
from troth.documents.identity.reading import listed, parsed, string_map
from troth.documents.secret_keys import IDENTITY_JSON
from troth.world.observation.objects import decoded

CALLER = identity("checkout", calls=[call("payments", "https", scopes=["pay", "refund"])])
CALLEE = target(
    accepts=[
        accept(GATEWAY, HOOKS, namespace=GATEWAY),
        accept("checkout", "https", scopes=["pay", "refund"]),
    ]
)


def texts(*manifests: Manifest) -> Iterator[str]:
    """Yield every `identity.json` of a planned cluster."""
    there = Cluster.of(*scene(authority_secret(), *manifests)).settle()
    for (kind, _), manifest in there.objects.items():
        data = decoded(manifest) if kind == "Secret" else {}
        if IDENTITY_JSON in data:
            yield data[IDENTITY_JSON].decode()


@pytest.fixture(scope="module")
def written() -> list[str]:
    return list(texts(CALLER, CALLEE))


def test_readers_agree_on_callers_and_their_scopes(written: list[str]) -> None:
    found = 0
    for text in written:
        strict, lenient = parse_document(text), parsed(text)
        expected = {
            (each.spiffe_id, port.name): {f"scope {scope}" for scope in port.scopes}
            for each in strict.accepts
            for port in each.ports
        }
        found += len(expected)
        assert accepted(lenient) == expected
        for spiffe_id, port in expected:
            assert spiffe_id in listed(lenient, port, inbound=True)
    assert found > 1


def test_readers_agree_on_callees_and_issuers(written: list[str]) -> None:
    found = 0
    for text in written:
        strict, lenient = parse_document(text), parsed(text)
        found += len(strict.calls)
        assert set(called(lenient)) == {(each.name, each.spiffe_id) for each in strict.calls}
        for each in strict.calls:
            assert all(each.spiffe_id in listed(lenient, p, inbound=False) for p in each.ports)
        assert string_map(lenient, "issuers") == strict.issuers
        assert string_map(lenient, "issuerIDs") == strict.issuer_ids
    assert found > 1


def test_readers_agree_on_deliveries_and_their_keys(written: list[str]) -> None:
    found = 0
    for text in written:
        strict, lenient = parse_document(text), parsed(text)
        deliveries = {
            (each.gateway, each.port, endpoint.name, endpoint.path, endpoint.workflow)
            for each in strict.webhooks
            for endpoint in each.endpoints
        }
        found += len(deliveries)
        assert {
            (each.gateway, each.port, each.endpoint, each.path, each.workflow)
            for each in listed_in(lenient)
        } == deliveries
        for each in strict.webhooks:
            grants = delivered(lenient)[each.gateway, each.port]
            assert {f"key {kid}" for kid in each.keys.public} <= grants
    assert found > 0


def test_document_does_not_require_less_than_itself(written: list[str]) -> None:
    assert not any(requires_less(parsed(text), parsed(text)) for text in written)
