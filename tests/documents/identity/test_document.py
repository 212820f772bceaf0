"""Strict parsing of `identity.json`."""

import json
from typing import Any

import pytest

from tests.edge.mounts import (
    CHECKOUT,
    DOMAIN,
    GATEWAY,
    ISSUER,
    PAYMENTS,
    accepted,
    by_token,
    document,
    forwarding,
    in_file,
    json_schema,
    orders,
)
from troth.documents.identity.document import CallToken, DocumentError, parse_document

CALL = {"name": "finance/ledger", "spiffeID": f"spiffe://{DOMAIN}/a", "ports": ["https"]}

MESSAGES = orders()
SCHEMA: dict[str, Any] = {**json_schema("{}")}
PROTOBUF = {**SCHEMA, "type": "Protobuf", "message": "shop.Order"}


def without(*names: str, **others: Any) -> dict[str, Any]:
    return {name: each for name, each in MESSAGES.items() if name not in names} | others


def with_forwards(value: Any) -> dict[str, Any]:
    port = {"name": "https", "scopes": [], "forwards": value}
    return {"spiffeID": CHECKOUT, "ports": [port]}


def read(**changed: Any) -> Any:
    return parse_document(json.dumps(document(**changed)))


def test_complete_document_is_read() -> None:
    whole = read(
        accepts=[forwarding(GATEWAY), accepted(CHECKOUT, "b", "a", ports=("https", "admin"))],
        calls=[CALL | {"token": {"audience": "ledger", "scopes": ["ledger.post"]}}],
        requires=by_token("Optional", "Tenant"),
        startsTransactions={"scopes": ["orders.place"], "context": ["channel"]},
        future={"member": True},
    )
    assert whole.spiffe_id == PAYMENTS
    assert whole.issuers == {DOMAIN: ISSUER}
    assert whole.issuer_ids[DOMAIN].endswith("/sa/troth-issuer")
    assert whole.callers[GATEWAY].forwarded["https"] == {"ClientCertificate"}
    assert whole.callers[CHECKOUT].forwarded == {"https": frozenset(), "admin": frozenset()}
    assert whole.callers[CHECKOUT].granted["admin"] == {"a", "b"}
    assert whole.callers[CHECKOUT].granted.get("metrics") is None
    assert whole.calls[0].token == CallToken(audience="ledger", scopes=frozenset({"ledger.post"}))
    assert whole.requires.token.proof_of_possession == "Optional"
    assert whole.requires.context == {"Tenant"}
    assert whole.starts_transactions.context == {"channel"}


def test_messages_of_a_document_are_read() -> None:
    only = ("deadLetter", "producers", "group", "schemas", "topic", "tenants")
    publishing = without(*only, action="Publish", context={"require": []})
    publishing |= {"prefix": "prod.orders.", "stream": "ORDERS", "schemaFault": "SchemaInvalid"}
    consumed, published = read(messages=[MESSAGES, publishing]).messages
    assert consumed.producers == {CHECKOUT}
    assert consumed.context.require == {"Actor", "Tenant"}
    assert (consumed.context.evidence, consumed.context.max_age) == ("Producer", 3600)
    assert consumed.environment == "production"
    assert json.loads(consumed.schemas[0].text)["properties"] == {"total": {"multipleOf": 0.01}}
    assert consumed.tenants == {"acme"}
    assert consumed.dead_letter.topic == "prod.orders.v1.dlq"
    assert (published.prefix, published.topic, published.stream) == ("prod.orders.", None, "ORDERS")
    assert (published.schemas, published.schema_fault) == ((), "SchemaInvalid")
    assert (published.context.evidence, published.context.max_age) == ("Producer", 168 * 3600)
    assert published.tenants is None
    assert read().messages == ()


def test_schemas_in_the_document_and_in_files_are_read() -> None:
    other, avro = json_schema("true"), {**json_schema('"string"'), "type": "Avro"}
    listed = [SCHEMA, in_file(other), avro, PROTOBUF | json_schema("CgA=") | {"type": "Protobuf"}]
    whole = read(messages=[without(schemas=listed)])
    assert whole.schema_texts.keys() == {each["digest"] for each in listed if "text" in each}
    assert whole.schema_texts[SCHEMA["digest"]] == "{}"
    assert whole.schema_files == {other["digest"]: f"{other['digest']}.json"}
    assert "string" not in repr(whole.messages[0].schemas[2])


def test_schemas_may_stay_beside_a_fault() -> None:
    (found,) = read(messages=[MESSAGES | {"schemas": [SCHEMA], "schemaFault": "Wrong"}]).messages
    assert (found.schema_fault, len(found.schemas)) == ("Wrong", 1)


def test_document_without_tokens_is_read() -> None:
    old = {
        "version": "v1alpha1",
        "spiffeID": PAYMENTS,
        "accepts": [],
        "calls": [CALL],
        "requires": {"context": []},
    }
    assert parse_document(json.dumps(old)).issuers == {}


@pytest.mark.parametrize(
    "changed",
    [
        {"version": "v2"},
        {"spiffeID": "payments"},
        {"spiffeID": f"spiffe://{DOMAIN}"},
        {"spiffeID": None},
        {"issuers": [ISSUER]},
        {"issuers": {DOMAIN: 7}},
        {"issuerIDs": {DOMAIN: "troth-issuer"}},
        {"accepts": {}},
        {"accepts": [CHECKOUT]},
        {"accepts": [{"spiffeID": CHECKOUT}]},
        {"accepts": [accepted("checkout")]},
        {"accepts": [accepted(CHECKOUT, "two words")]},
        {"accepts": [accepted(CHECKOUT), accepted(CHECKOUT, "payments.admin")]},
        {"accepts": [accepted(CHECKOUT, ports=("https", "https"))]},
        {"accepts": [accepted(CHECKOUT) | {"ports": ["https"]}]},
        {"accepts": [accepted(CHECKOUT) | {"forwards": ["ClientCertificate"]}]},
        {"accepts": [with_forwards("ClientCertificate")]},
        {"accepts": [with_forwards(["Subject"])]},
        {"accepts": [accepted(CHECKOUT) | {"methods": ["GET"]}]},
        {"calls": [CALL | {"token": {"audience": "a"}}]},
        {"requires": {"context": ["Actor"]}},
        {"requires": {}},
        {"requires": {"context": [], "token": {"audience": PAYMENTS}}},
        {"requires": by_token("Never")},
        {"requires": by_token() | {"mfa": True}},
        {"startsTransactions": {"scopes": []}},
        {"messages": {}},
        {"messages": [without("policy")]},
        {"messages": [without("topic")]},
        {"messages": [MESSAGES | {"prefix": "prod."}]},
        {"messages": [MESSAGES | {"action": "Read"}]},
        {"messages": [MESSAGES | {"action": "Publish"}]},
        {"messages": [MESSAGES | {"schema": "{}"}]},
        {"messages": [MESSAGES | {"schemas": "{}"}]},
        {"messages": [MESSAGES | {"schemas": [SCHEMA, SCHEMA]}]},
        {"messages": [MESSAGES | {"schemas": [SCHEMA, in_file(SCHEMA)]}]},
        *(
            {"messages": [MESSAGES | {"schemas": [schema]}]}
            for schema in (
                {name: SCHEMA[name] for name in ("type", "digest")},
                {name: SCHEMA[name] for name in ("type", "text")},
                SCHEMA | in_file(SCHEMA),
                SCHEMA | {"type": "XML"},
                SCHEMA | {"type": "Protobuf"},
                SCHEMA | {"message": "shop.Order"},
                PROTOBUF | {"message": ""},
                SCHEMA | {"text": "{ }"},
                SCHEMA | {"text": {}},
                SCHEMA | {"digest": SCHEMA["digest"] + "="},
                SCHEMA | {"since": 1},
                in_file(SCHEMA) | {"file": "../tls.key"},
                in_file(SCHEMA) | {"file": f"{SCHEMA['digest']}.avsc"},
                in_file(SCHEMA) | {"digest": "../../../../../../../../var/run/secrets/tokn"},
            )
        ),
        {"messages": [without("environment")]},
        {"messages": [MESSAGES | {"environment": ""}]},
        {"messages": [MESSAGES | {"tenants": []}]},
        {"messages": [MESSAGES | {"tenants": ["acme\n"]}]},
        {"messages": [MESSAGES | {"tenants": ["a" * 257]}]},
        {"messages": [without("deadLetter", "producers", action="Publish")]},
        *(
            {"messages": [MESSAGES | {"context": {"require": ["Tenant"]} | wrong}]}
            for wrong in (
                {"evidence": "Nobody"},
                {"maxAge": 59},
                {"maxAge": 2160 * 3600 + 1},
                {"maxAge": "3600"},
                {"maxAge": 60.5},
                {"maxAge": True},
                {"minAge": 60},
            )
        ),
        {"messages": [MESSAGES | {"context": {"require": ["Region"]}}]},
        {"messages": [MESSAGES | {"context": {"require": [], "forbid": []}}]},
        {"messages": [MESSAGES | {"producers": ["checkout"]}]},
        {"messages": [MESSAGES | {"deadLetter": {"topic": "a"}}]},
        {"messages": [MESSAGES | {"encrypted": True}]},
        {"messages": [MESSAGES, MESSAGES]},
    ],
)
def test_document_of_another_shape_is_rejected(changed: dict[str, Any]) -> None:
    with pytest.raises(DocumentError):
        read(**changed)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "null", json.dumps(document())[:-9], '{"version":"v1alpha1","version":"v1alpha1"}'],
)
def test_invalid_document_is_rejected(text: str) -> None:
    with pytest.raises(DocumentError):
        parse_document(text)


@pytest.mark.parametrize("member", ["version", "spiffeID", "accepts", "calls", "requires"])
def test_document_without_a_required_member_is_rejected(member: str) -> None:
    whole = document()
    del whole[member]
    with pytest.raises(DocumentError, match=member):
        parse_document(json.dumps(whole))
