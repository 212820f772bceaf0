"""A sealed event opens, and every other message is rejected for its reason."""

import base64
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from hypothesis import given
from hypothesis import strategies as st

from tests.edge.events.trade import (
    CHECKOUT,
    LONG_AGO,
    NOW,
    ORDER,
    POLICY,
    TOPIC,
    Trade,
    bundle_map,
    delivered,
    edited,
    leaf,
    schema,
)
from tests.edge.mounts import DOMAIN, PARTNER, PARTNER_KEY, transaction_token
from tests.judges.forging import ORDER as ORDER_OF_P256
from tests.pki.builders import own_root
from tests.strategies import more
from troth.edge.events.attributes import SIGNED
from troth.edge.events.event import Event
from troth.edge.events.message import Message, Sealed
from troth.edge.events.rejection import Reason, Rejection
from troth.edge.events.seal import envelope, signatures
from troth.pki.keys.private import load_private_key
from troth.resources.algorithms import KeyAlgorithm

DAY = 86400.0


def reason(opened: Event | Rejection) -> Reason | None:
    return opened.reason if isinstance(opened, Rejection) else None


def test_sealed_event_opens_with_all_that_was_verified(trade: Trade) -> None:
    sealed = trade.seal(subject="customer-42", tenant="acme", request_id="r-1", about="order/7")
    event = trade.open(delivered(sealed, stored_at=NOW + 1))
    assert event == Event(
        id=sealed.attributes["id"],
        type="shop.order.placed",
        actor=CHECKOUT,
        subject="customer-42",
        tenant="acme",
        request_id="r-1",
        time=datetime.fromtimestamp(NOW, UTC),
        topic=TOPIC,
        policy=POLICY,
        about="order/7",
        content_type="application/json",
        data=ORDER,
        payload={"sku": "A-1", "quantity": 2},
    )


@pytest.mark.parametrize("algorithm", KeyAlgorithm)
def test_key_of_every_algorithm_seals(trade: Trade, algorithm: KeyAlgorithm) -> None:
    trade.publish(leaf(CHECKOUT, algorithm=algorithm))
    assert isinstance(trade.open(delivered(trade.seal())), Event)


def test_unsigned_message_is_rejected(trade: Trade) -> None:
    assert reason(trade.open(edited(trade.seal(), dssematerial=None))) is Reason.UNSIGNED
    assert reason(trade.open(Message(TOPIC, {}, ORDER))) is Reason.UNSIGNED


def test_tombstone_is_rejected(trade: Trade) -> None:
    assert reason(trade.open(delivered(trade.seal(), data=None))) is Reason.MALFORMED


@pytest.mark.parametrize("name", ["id", "source", "type", "time", "trothpolicy", "trothchain"])
def test_missing_attribute_is_named(trade: Trade, name: str) -> None:
    opened = trade.open(edited(trade.seal(), **{name: None}))
    assert opened == Rejection(Reason.MALFORMED, f"the attribute {name} is missing")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("specversion", "0.3"),
        ("time", "2026-11-28T12:00:00.5Z"),
        ("time", "2026-11-28T13:00:00+01:00"),
        ("time", "2026-11-31T12:00:00Z"),
        ("type", "two words"),
        ("datacontenttype", "application/cloudevents+json"),
        ("source", "checkout"),
        ("trothtenant", "a\nb"),
        ("dssematerial", "AAAA"),
    ],
)
def test_malformed_attribute_is_rejected(trade: Trade, name: str, value: str) -> None:
    sealed = trade.seal(tenant="acme")
    assert reason(trade.open(edited(sealed, **{name: value}))) is Reason.MALFORMED


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("id", "another"),
        ("type", "shop.order.cancelled"),
        ("time", "2026-11-28T12:00:01Z"),
        ("subject", "order/8"),
        ("trothtenant", "globex"),
        ("trothtxn", "another"),
        ("authid", "somebody"),
        ("trothtopic", "prod.refunds.v1"),
        ("datacontenttype", "text/plain"),
    ],
)
def test_forged_attribute_is_rejected(trade: Trade, name: str, value: str) -> None:
    for sealed in (trade.seal(), trade.seal(tenant="acme", subject="customer-42")):
        opened = trade.open(edited(sealed, **{name: value}))
        assert reason(opened) is Reason.SIGNATURE_INVALID


def test_other_data_is_rejected(trade: Trade) -> None:
    opened = trade.open(delivered(trade.seal(), data=b'{"sku":"A-1","quantity":3}'))
    assert reason(opened) is Reason.SIGNATURE_INVALID


def test_attribute_that_no_seal_covers_is_ignored(trade: Trade) -> None:
    sealed = trade.seal()
    event = trade.open(edited(sealed, traceparent="00-0-0-00"))
    assert event == trade.open(delivered(sealed))


@pytest.mark.parametrize("name", ["trothtxntoken", "dataschema", "traceparent"])
def test_empty_attribute_is_malformed(trade: Trade, name: str) -> None:
    """An absent attribute and an empty one have the same digest."""
    for side in (trade.publish, trade.consume):
        side(schemas=None)
    opened = trade.open(edited(trade.seal(), **{name: ""}))
    assert opened == Rejection(Reason.MALFORMED, "an attribute is empty")


def resealed(sealed: Sealed, key: Any, key_id: str, **attributes: str) -> Message:
    """Seal an event again, with another key or other attributes."""
    mixed = {**sealed.attributes, **attributes}
    payload = envelope.material(mixed, sealed.data, SIGNED)
    signature = signatures.signer(key)(envelope.signed_bytes(payload))
    mixed["dssematerial"] = envelope.write(payload, signature, key_id)
    return delivered(sealed, attributes=mixed)


def test_signature_by_another_key_is_rejected(trade: Trade) -> None:
    other = leaf("spiffe://prod.shop.example/ns/shop/sa/other")
    key_id = envelope.read(trade.seal().attributes["dssematerial"]).key_id
    for each in (key_id, other.thumbprint):
        message = resealed(trade.seal(), load_private_key(other.key), each)
        assert reason(trade.open(message)) is Reason.SIGNATURE_INVALID


def test_second_valid_signature_of_an_event_is_rejected(trade: Trade) -> None:
    sealed = trade.seal()
    seal = envelope.read(sealed.attributes["dssematerial"])
    r, s = decode_dss_signature(seal.signature)
    twin = envelope.write(seal.payload, encode_dss_signature(r, ORDER_OF_P256 - s), seal.key_id)
    assert reason(trade.open(edited(sealed, dssematerial=twin))) is Reason.SIGNATURE_INVALID


def test_source_of_another_workload_is_rejected(trade: Trade) -> None:
    own = leaf(CHECKOUT)
    trade.publish(own)
    other = "spiffe://prod.shop.example/ns/shop/sa/other"
    message = resealed(trade.seal(), load_private_key(own.key), own.thumbprint, source=other)
    assert reason(trade.open(message)) is Reason.SIGNATURE_INVALID


def test_producer_without_grant_is_rejected(trade: Trade) -> None:
    sealed = trade.seal()
    trade.consume(producers=[])
    opened = trade.open(delivered(sealed))
    assert reason(opened) is Reason.PRODUCER_NOT_GRANTED
    assert isinstance(opened, Rejection)
    assert opened.actor == CHECKOUT


def test_certificate_of_another_root_is_rejected(trade: Trade) -> None:
    trade.publish(leaf(CHECKOUT, authority=own_root(which="stranger", now=LONG_AGO)))
    assert reason(trade.open(delivered(trade.seal()))) is Reason.CERTIFICATE_INVALID


def test_root_of_another_trust_domain_does_not_vouch(trade: Trade) -> None:
    abroad = own_root(which="abroad", now=LONG_AGO)
    trade.publish(leaf(CHECKOUT, authority=abroad))
    trade.consume(bundles=bundle_map({PARTNER: abroad}))
    assert reason(trade.open(delivered(trade.seal()))) is Reason.CERTIFICATE_INVALID


def test_certificate_is_verified_at_the_time_of_the_event(trade: Trade) -> None:
    own = leaf(CHECKOUT, lifetime=timedelta(hours=1))
    trade.publish(own)
    sealed = trade.seal()
    trade.now += 3 * DAY
    assert isinstance(trade.open(delivered(sealed, stored_at=NOW)), Event)


def test_event_after_the_end_of_its_certificate_is_rejected(trade: Trade) -> None:
    own = leaf(CHECKOUT, lifetime=timedelta(hours=1))
    trade.publish(own)
    key = load_private_key(own.key)
    message = resealed(trade.seal(), key, own.thumbprint, time="2026-11-28T13:00:00Z")
    trade.now += 3600
    assert reason(trade.open(message)) is Reason.CERTIFICATE_INVALID


def test_event_before_its_certificate_is_rejected(trade: Trade) -> None:
    own = leaf(CHECKOUT)
    trade.publish(own)
    key = load_private_key(own.key)
    message = resealed(trade.seal(), key, own.thumbprint, time="2026-11-28T11:50:00Z")
    assert reason(trade.open(message)) is Reason.CERTIFICATE_INVALID


def test_keys_may_rotate_within_a_backlog(trade: Trade) -> None:
    before = trade.seal()
    trade.now += DAY / 2
    trade.publish(leaf(CHECKOUT, at=trade.now))
    after = trade.seal()
    assert before.attributes["trothchain"] != after.attributes["trothchain"]
    opener = trade.opener()
    assert isinstance(opener.open(delivered(before)), Event)
    assert isinstance(opener.open(delivered(after)), Event)


def test_removed_root_no_longer_verifies_a_cached_chain(trade: Trade) -> None:
    sealed, opener = trade.seal(), trade.opener()
    assert isinstance(opener.open(delivered(sealed)), Event)
    roots = {DOMAIN: own_root(which="next", now=LONG_AGO)}
    trade.consume(bundles=bundle_map(roots=roots))
    assert reason(opener.open(delivered(sealed))) is Reason.CERTIFICATE_INVALID


def test_chain_in_another_encoding_is_rejected(trade: Trade) -> None:
    """The last bits of base64 may differ and mean the same bytes."""
    own = next(each for each in iter(lambda: leaf(CHECKOUT), None) if len(each.der) % 3)
    trade.publish(own)
    sealed = trade.seal()
    chain = sealed.attributes["trothchain"]
    text = chain.rstrip("=")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    other = text[:-1] + alphabet[alphabet.index(text[-1]) + 1] + "=" * (len(chain) - len(text))
    assert base64.b64decode(other) == base64.b64decode(chain)
    message = resealed(sealed, load_private_key(own.key), own.thumbprint, trothchain=other)
    assert reason(trade.open(message)) is Reason.CERTIFICATE_INVALID


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"policy": "shop/refunds"}, Reason.NOT_GRANTED),
        ({"broker": "shop/other"}, Reason.WRONG_POLICY),
        ({"environment": "staging"}, Reason.WRONG_ENVIRONMENT),
        ({"topic": "prod.refunds.v1"}, Reason.WRONG_TOPIC),
        ({"topic": None, "prefix": "prod.refunds."}, Reason.WRONG_TOPIC),
        ({"schemaFault": "SchemaInvalid", "schemas": None}, Reason.SCHEMA_UNAVAILABLE),
        ({"schemaFault": "SchemaInvalid"}, Reason.SCHEMA_UNAVAILABLE),
        ({"schemas": [schema('{"type":"object"}')]}, Reason.SCHEMA_UNKNOWN),
        ({"tenants": ["globex"]}, Reason.TENANT_NOT_ACCEPTED),
    ],
)
def test_event_of_another_declaration_is_rejected(
    trade: Trade, changed: dict[str, Any], expected: Reason
) -> None:
    sealed = trade.seal(tenant="acme")
    trade.consume(**changed)
    assert reason(trade.open(delivered(sealed))) is expected


def test_event_for_another_policy_is_rejected(trade: Trade) -> None:
    own = leaf(CHECKOUT)
    trade.publish(own)
    key = load_private_key(own.key)
    message = resealed(trade.seal(), key, own.thumbprint, trothpolicy="shop/refunds")
    assert reason(trade.open(message)) is Reason.WRONG_POLICY


def test_event_that_another_topic_delivers_is_rejected(trade: Trade) -> None:
    trade.consume(topic=None, prefix="prod.")
    opened = trade.open(delivered(trade.seal(), topic="prod.refunds.v1"))
    assert reason(opened) is Reason.WRONG_TOPIC


def test_expired_event_is_rejected(trade: Trade) -> None:
    sealed = trade.seal()
    trade.now = NOW + 604800
    assert isinstance(trade.open(delivered(sealed)), Event)
    trade.now += 1
    assert reason(trade.open(delivered(sealed))) is Reason.EXPIRED


def test_event_from_the_future_is_rejected(trade: Trade) -> None:
    sealed = trade.seal()
    trade.now = NOW - 300
    assert isinstance(trade.open(delivered(sealed)), Event)
    trade.now -= 1
    assert reason(trade.open(delivered(sealed))) is Reason.NOT_YET_VALID


@pytest.mark.parametrize("difference", [-301.0, 301.0, 2 * DAY])
def test_event_that_was_stored_at_another_time_is_rejected(trade: Trade, difference: float) -> None:
    sealed = trade.seal()
    trade.now += 3 * DAY
    opened = trade.open(delivered(sealed, stored_at=NOW + difference))
    assert reason(opened) is Reason.TIME_MISMATCH


@pytest.mark.parametrize(
    ("item", "missing"), [("Subject", "Subject"), ("Tenant", "Tenant"), ("RequestID", "RequestID")]
)
def test_event_without_required_context_is_rejected(trade: Trade, item: str, missing: str) -> None:
    sealed = trade.seal()
    trade.consume(context={"require": ["Actor", item]})
    opened = trade.open(delivered(sealed))
    assert reason(opened) is Reason.CONTEXT_MISSING
    assert missing in str(opened)


BY_TOKEN = {"require": ["Actor", "Subject", "Tenant"], "evidence": "TransactionToken"}


def token(**changed: Any) -> str:
    return transaction_token(now=datetime.fromtimestamp(NOW, UTC), **changed)


def test_transaction_token_proves_the_context(trade: Trade) -> None:
    trade.publish(context=BY_TOKEN)
    trade.consume(context=BY_TOKEN)
    event = trade.open(delivered(trade.seal(transaction=token())))
    assert isinstance(event, Event)
    assert (event.subject, event.tenant) == ("customer-42", "blue")
    assert event.request_id == "00000000-0000-0000-0000-000000000007"


def test_transaction_token_is_verified_at_the_time_of_the_event(trade: Trade) -> None:
    trade.publish(context=BY_TOKEN)
    trade.consume(context=BY_TOKEN)
    sealed = trade.seal(transaction=token())
    trade.now += DAY
    assert isinstance(trade.open(delivered(sealed)), Event)


def test_context_without_its_token_is_rejected(trade: Trade) -> None:
    sealed = trade.seal(subject="customer-42", tenant="blue", request_id="r-1")
    trade.consume(context=BY_TOKEN)
    assert reason(trade.open(delivered(sealed))) is Reason.TRANSACTION_TOKEN_INVALID


@pytest.mark.parametrize(
    "changed",
    [
        {"trothtenant": "globex"},
        {"authid": "somebody"},
        {"trothtxn": "00000000-0000-0000-0000-000000000008"},
        {"trothtxntoken": token(trust_domain=PARTNER)},
        {"trothtxntoken": token(context={"tenant": "globex"})},
        {"trothtxntoken": transaction_token(now=datetime.fromtimestamp(NOW - 7200, UTC))},
        {"trothtxntoken": "not.a.token"},
    ],
)
def test_compromised_producer_cannot_invent_a_tenant(trade: Trade, changed: dict[str, str]) -> None:
    own = leaf(CHECKOUT)
    trade.publish(own, context=BY_TOKEN)
    trade.consume(context=BY_TOKEN)
    sealed = trade.seal(transaction=token())
    message = resealed(sealed, load_private_key(own.key), own.thumbprint, **changed)
    assert reason(trade.open(message)) is Reason.TRANSACTION_TOKEN_INVALID


def test_consumer_accepts_its_tenants(trade: Trade) -> None:
    trade.consume(tenants=["acme", "globex"])
    assert isinstance(trade.open(delivered(trade.seal(tenant="acme"))), Event)
    assert reason(trade.open(delivered(trade.seal()))) is Reason.TENANT_NOT_ACCEPTED


def test_data_that_does_not_satisfy_the_schema_is_rejected(trade: Trade) -> None:
    own = leaf(CHECKOUT)
    trade.publish(own, schemas=[schema('{"type":"object"}')])
    sealed = trade.seal(b'{"sku":"A-1","quantity":0}')
    named = f"ni:///sha-256;{schema()['digest']}?policy={POLICY}"
    message = resealed(sealed, load_private_key(own.key), own.thumbprint, dataschema=named)
    opened = trade.open(message)
    assert reason(opened) is Reason.SCHEMA_INVALID
    assert "A-1" not in str(opened)


def test_previous_schema_is_accepted_during_a_rollout(trade: Trade) -> None:
    sealed = trade.seal()
    newer = schema('{"required":["sku","quantity","currency"],"type":"object"}')
    trade.consume(schemas=[newer, schema()])
    assert isinstance(trade.open(delivered(sealed)), Event)
    trade.publish(schemas=[newer, schema()])
    assert isinstance(trade.open(delivered(trade.seal())), Event)


def test_large_data_is_rejected(trade: Trade) -> None:
    message = delivered(trade.seal(), data=b"x" * 10_000_000)
    assert reason(trade.open(message)) is Reason.TOO_LARGE


def test_group_is_needed_only_if_there_are_several(trade: Trade) -> None:
    assert isinstance(trade.open(delivered(trade.seal()), group="prod.fulfilment"), Event)
    assert reason(trade.open(delivered(trade.seal()), group="prod.audit")) is Reason.NOT_GRANTED


def test_explanation_goes_on_after_independent_checks(trade: Trade) -> None:
    sealed = trade.seal(tenant="acme")
    trade.consume(producers=[], environment="staging", tenants=["globex"])
    explanation = trade.opener().explain(delivered(sealed))
    failed = [each.check for each in explanation.verdicts if each.rejection is not None]
    assert failed == ["producer", "environment", "tenant"]
    assert explanation.event is None


def test_explanation_ends_where_later_checks_depend_on_it(trade: Trade) -> None:
    explanation = trade.opener().explain(edited(trade.seal(), id="another"))
    assert [each.check for each in explanation.verdicts] == ["grant", "redrive", "form", "seal"]


def test_explanation_of_an_accepted_event_has_the_event(trade: Trade) -> None:
    message = delivered(trade.seal())
    explanation = trade.opener().explain(message)
    assert explanation.event == trade.open(message)


def test_rejection_and_message_show_no_content(trade: Trade) -> None:
    sealed = trade.seal(tenant="acme", subject="customer-42")
    message = delivered(sealed)
    for text in (repr(sealed), repr(message), repr(trade.open(message))):
        assert "A-1" not in text
        assert sealed.attributes["trothchain"] not in text


@st.composite
def edits(draw: st.DrawFn) -> tuple[str, str | bytes | None]:
    """One edit: an attribute removed, replaced, or changed in one character; or the data."""
    return draw(
        st.tuples(
            st.sampled_from(["remove", "replace", "flip", "swap", "data", "add"]),
            st.text(min_size=0, max_size=8),
        )
    )


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Trade, Sealed, Sealed]:
    trade = Trade(Path(tmp_path_factory.mktemp("trade")))
    first = trade.seal(tenant="acme", subject="customer-42", request_id="r-1", about="order/7")
    return trade, first, trade.seal(b'{"sku":"B-2","quantity":1}', tenant="globex")


@more(5)
@given(data=st.data())
def test_no_edit_of_a_sealed_event_is_accepted(
    shared: tuple[Trade, Sealed, Sealed], data: st.DataObject
) -> None:
    trade, first, second = shared
    attributes, content = dict(first.attributes), first.data
    signed = [*attributes]
    for _ in range(data.draw(st.integers(1, 4))):
        edit, text = data.draw(edits())
        name = data.draw(st.sampled_from(signed))
        value = attributes.get(name, "")
        if edit == "remove":
            attributes.pop(name, None)
        elif edit == "replace":
            attributes[name] = str(text)
        elif edit == "swap" and name in second.attributes:
            attributes[name] = second.attributes[name]
        elif edit == "data":
            content = data.draw(st.sampled_from([second.data, b"", content + b" "]))
        elif edit == "add":
            attributes[data.draw(st.sampled_from(SIGNED))] = str(text)
        elif value:
            at = data.draw(st.integers(0, len(value) - 1))
            changed = chr(ord(value[at]) ^ data.draw(st.sampled_from([1, 2, 32])))
            attributes[name] = value[:at] + changed + value[at + 1 :]
    opened = trade.open(Message(first.topic, attributes, content))
    relevant = {k: attributes.get(k) for k in first.attributes} | {
        k: attributes.get(k) for k in SIGNED
    }
    same = relevant == {k: first.attributes.get(k) for k in relevant} and content == first.data
    whole = all(attributes.get(k) == second.attributes.get(k) for k in relevant)
    other = whole and content == second.data
    assert isinstance(opened, Event) is (same or other)


def test_retired_keys_verify_events_from_the_bundle_for_events(trade: Trade) -> None:
    trade.publish(context=BY_TOKEN)
    sealed = trade.seal(transaction=token())
    kept = bundle_map()
    roots = {DOMAIN: own_root(which="next", now=LONG_AGO)}
    later = bundle_map(roots, keys={DOMAIN: PARTNER_KEY, PARTNER: PARTNER_KEY})
    trade.consume(context=BY_TOKEN, bundles=later)
    assert reason(trade.open(delivered(sealed))) is Reason.CERTIFICATE_INVALID
    trade.consume(context=BY_TOKEN, bundles=later, event_bundles=kept)
    assert isinstance(trade.open(delivered(sealed)), Event)
