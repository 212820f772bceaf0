"""Vectors of the checks 1 and 6 to 14, except those of transaction tokens."""

from collections.abc import Iterator

from website.event_vectors.events import Vector, event, vector, with_data, written_time
from website.event_vectors.scene import (
    ABROAD,
    EVENT_TIME,
    ORDER,
    PREVIOUS,
    SCHEMA,
    data_schema,
    schema,
)

ACCEPTED = "Accepted"
MAX_AGE = 604_800


def vectors() -> Iterator[Vector]:
    """Yield them all."""
    yield from _grants()
    yield from _places()
    yield from _times()
    yield from _context()
    yield from _schemas()
    yield from _order()


def _grants() -> Iterator[Vector]:
    rule = "the verifier has an entry with the action Consume"
    yield vector("no-entry", rule, "NotGranted", entry=None)
    yield vector(
        "entry-to-publish", rule, "NotGranted", entry={"action": "Publish", "producers": None}
    )
    rule = "the SPIFFE ID is in producers"
    yield vector("no-producers", rule, "ProducerNotGranted", entry={"producers": []})
    yield vector("other-producers", rule, "ProducerNotGranted", entry={"producers": [ABROAD]})


def _places() -> Iterator[Vector]:
    rule, verdict = "trothpolicy and trothbroker are those of the entry", "WrongPolicy"
    yield vector("other-policy", rule, verdict, event(trothpolicy="shop/refunds"))
    yield vector("policy-of-another-form", rule, verdict, event(trothpolicy="orders"))
    yield vector("other-broker", rule, verdict, event(trothbroker="shop/other"))
    rule, verdict = "trothenvironment is that of the entry", "WrongEnvironment"
    yield vector("other-environment", rule, verdict, event(trothenvironment="staging"))
    rule, verdict = "trothtopic is the topic that delivered the message", "WrongTopic"
    yield vector("moved-to-another-topic", rule, verdict, topic="prod.refunds.v1")
    yield vector("topic-in-capitals", rule, verdict, event(trothtopic="PROD.orders.v1"))
    other = "prod.refunds.v1"
    yield vector(
        "topic-of-no-policy", "the entry's topic", verdict, event(trothtopic=other), topic=other
    )
    prefixed = {"topic": None, "prefix": "prod.orders."}
    yield vector("prefix", "begins with the entry's prefix", ACCEPTED, entry=prefixed)
    below = "prod.orders.v2"
    yield vector(
        "prefix-other-topic", "begins with the entry's prefix", ACCEPTED,
        event(trothtopic=below), topic=below, entry=prefixed,
    )  # fmt: skip
    yield vector(
        "prefix-moved", "trothtopic is the topic that delivered the message", verdict,
        topic=below, entry=prefixed,
    )  # fmt: skip
    outside = "prod.ordersv1"
    yield vector(
        "prefix-outside", "begins with the entry's prefix", verdict, event(trothtopic=outside),
        topic=outside, entry=prefixed,
    )  # fmt: skip


def _times() -> Iterator[Vector]:
    rule = "the event is at most maxAge seconds old"
    yield vector("oldest", rule, ACCEPTED, now=EVENT_TIME + MAX_AGE)
    yield vector("too-old", rule, "Expired", now=EVENT_TIME + MAX_AGE + 1)
    short = {"context": {"maxAge": 3600}}
    yield vector("oldest-of-an-hour", rule, ACCEPTED, now=EVENT_TIME + 3600, entry=short)
    yield vector("too-old-by-half", rule, "Expired", now=EVENT_TIME + 3600.5, entry=short)
    by_default = {"context": {"maxAge": None}}
    rule = "maxAge is 604800 by default"
    yield vector("oldest-by-default", rule, ACCEPTED, now=EVENT_TIME + MAX_AGE, entry=by_default)
    yield vector(
        "too-old-by-default", rule, "Expired", now=EVENT_TIME + MAX_AGE + 1, entry=by_default
    )
    rule = "time is at most 300 seconds in the future"
    yield vector("most-future", rule, ACCEPTED, now=EVENT_TIME - 300)
    yield vector("too-far-in-the-future", rule, "NotYetValid", now=EVENT_TIME - 301)
    yield vector("future-by-half", rule, "NotYetValid", now=EVENT_TIME - 300.5)
    rule = "time and the time of storage differ by at most 300 seconds"
    for name, difference in {
        "at-once": 0,
        "300-s-later": 300,
        "301-s-later": 301,
        "300.5-s-later": 300.5,
        "300-s-earlier": -300,
        "301-s-earlier": -301,
        "days-later": 2 * 86400,
    }.items():
        verdict = ACCEPTED if abs(difference) <= 300 else "TimeMismatch"  # noqa: PLR2004
        for binding in ("Kafka", "NATS"):
            yield vector(
                f"{binding.lower()}-stored-{name}", rule, verdict, binding=binding,
                now=EVENT_TIME + 3 * 86400, storedAt=EVENT_TIME + difference,
            )  # fmt: skip
    first = event(time=written_time(0))
    yield vector("time-of-1970", "a time from 1970", "CertificateInvalid", first)


def _context() -> Iterator[Vector]:
    items = {"Subject": "authid", "Tenant": "trothtenant", "RequestID": "trothtxn"}
    rule = "the attribute of each required item is present"
    for item, name in items.items():
        required = {"context": {"require": ["Actor", item]}}
        short = item.lower()
        yield vector(f"without-{short}", rule, "ContextMissing", entry=required)
        yield vector(f"with-{short}", rule, ACCEPTED, event(**{name: "a"}), entry=required)
    others = event(trothtenant="a", subject="b")
    required = {"context": {"require": ["Subject"]}}
    yield vector("subject-is-authid", rule, "ContextMissing", others, entry=required)
    tenants = {"tenants": ["acme", "Bäckerei"]}
    rule = "trothtenant is one of the entry's tenants"
    for name, tenant, verdict in (
        ("accepted", "acme", ACCEPTED),
        ("unicode", "Bäckerei", ACCEPTED),
        ("decomposed", "Ba\u0308ckerei", "TenantNotAccepted"),
        ("other", "globex", "TenantNotAccepted"),
        ("capitals", "ACME", "TenantNotAccepted"),
        ("absent", None, "TenantNotAccepted"),
    ):
        yield vector(f"tenant-{name}", rule, verdict, event(trothtenant=tenant), entry=tenants)


def _schemas() -> Iterator[Vector]:
    rule = "dataschema names an accepted schema and the policy"
    unknown = "SchemaUnknown"
    both = {"schemas": [schema(SCHEMA), schema(PREVIOUS)]}
    small = b'{"sku":"A-1"}'
    previous = data_schema(PREVIOUS)
    yield vector("schema-current-of-two", rule, ACCEPTED, entry=both)
    yield vector(
        "schema-previous", rule, ACCEPTED, with_data(small, dataschema=previous), entry=both
    )
    yield vector("schema-retired", rule, unknown, with_data(small, dataschema=previous))
    yield vector("schema-none", rule, unknown, event(dataschema=None))
    yield vector(
        "schema-of-another-policy", rule, unknown,
        event(dataschema=data_schema(policy="shop/refunds")),
    )  # fmt: skip
    yield vector(
        "schema-without-policy", rule, unknown,
        event(dataschema=data_schema().partition("?")[0]),
    )  # fmt: skip
    yield vector(
        "schema-digest-padded", rule, unknown,
        event(dataschema=data_schema().replace("?", "=?")),
    )  # fmt: skip
    yield vector("schema-of-another-form", rule, unknown, event(dataschema="https://a.example/"))
    rule = "without schemas, dataschema is not compared"
    free = {"schemas": None}
    yield vector("no-schema", rule, ACCEPTED, event(dataschema=None), entry=free)
    yield vector("no-schema-but-named", rule, ACCEPTED, event(dataschema="x"), entry=free)
    yield vector("no-schema-in-empty-list", rule, ACCEPTED, entry={"schemas": []})
    yield vector("no-schema-any-data", rule, ACCEPTED, with_data(b"{", dataschema=None), entry=free)
    fault = {"schemaFault": "SchemaInvalid"}
    rule = "the entry has no schemaFault"
    yield vector("schema-fault", rule, "SchemaUnavailable", entry=fault | free)
    rule = "the data satisfies the schema"
    for name, data in {
        "empty": b"",
        "no-json": b"{",
        "other-type": b"[]",
        "missing-member": small,
        "below-minimum": b'{"sku":"A-1","quantity":0}',
        "of-the-other-schema": b'{"sku":1,"quantity":1}',
        "repeated-member": b'{"sku":"A-1","sku":"A-2","quantity":2}',
        "nan": b'{"sku":"A-1","quantity":2,"x":NaN}',
        "not-utf-8": b'{"sku":"\xff","quantity":2}',
        "utf-16": '{"sku":"A-1","quantity":2}'.encode("utf-16"),
        "byte-order-mark": b"\xef\xbb\xbf" + ORDER,
        "text-after": ORDER + b"{}",
        "comma-at-the-end": ORDER[:-1] + b",}",
        "half-of-a-pair": b'{"sku":"\\ud800","quantity":2}',
        "number-too-large": b'{"sku":"A-1","quantity":2,"x":1e400}',
        "integer-too-large": b'{"sku":"A-1","quantity":2,"x":1%b}' % (b"0" * 400),
        "65-levels": _nested(64),
    }.items():
        yield vector(f"data-{name}", rule, "SchemaInvalid", with_data(data))
    for name, data in {
        "other-members": b' {"quantity": 2, "sku": "A-1", "more": [1.5e3, null]}\n',
        "whole-number-with-a-fraction": b'{"sku":"A-1","quantity":2.0}',
        "largest-integer": b'{"sku":"A-1","quantity":2,"x":1%b}' % (b"0" * 308),
        "number-too-small": b'{"sku":"A-1","quantity":2,"x":1e-400}',
        "exponent": b'{"sku":"A-1","quantity":2e0}',
        "large-quantity": b'{"sku":"A-1","quantity":1%b}' % (b"0" * 30),
        "pair": b'{"sku":"\\ud83e\\udd68","quantity":2}',
        "64-levels": _nested(63),
    }.items():
        yield vector(f"data-{name}", rule, ACCEPTED, with_data(data))


def _nested(levels: int) -> bytes:
    return b'{"sku":"A-1","quantity":2,"x":' + b"[" * levels + b"]" * levels + b"}"


def _order() -> Iterator[Vector]:
    """Messages that fail two checks: the earlier one gives the reason."""
    rule = "the first check that fails gives the reason"
    yield vector(
        "order-grant-before-form", rule, "NotGranted", event().edited(dssematerial=None), entry=None
    )
    yield vector(
        "order-data-before-seal", rule, "Malformed", event().edited(dssematerial=None), data=None
    )
    yield vector(
        "order-headers-before-seal", rule, "Malformed", event().edited(dssematerial=None)
    ).with_headers(("CE_id", "1"))
    yield vector(
        "order-seal-before-form", rule, "Unsigned", event().edited(dssematerial=None, id=None)
    )
    yield vector("order-form-before-envelope", rule, "Malformed", event().edited(dssematerial="x"))
    yield vector(
        "order-payload-before-certificate", rule, "SignatureInvalid",
        event().edited(trothchain="x"),
    )  # fmt: skip
    yield vector(
        "order-producer-before-policy", rule, "ProducerNotGranted",
        event(trothpolicy="shop/refunds"), entry={"producers": []},
    )  # fmt: skip
    yield vector(
        "order-policy-before-environment", rule, "WrongPolicy",
        event(trothpolicy="shop/refunds", trothenvironment="staging"),
    )  # fmt: skip
    yield vector(
        "order-environment-before-topic", rule, "WrongEnvironment",
        event(trothenvironment="staging"), topic="prod.refunds.v1",
    )  # fmt: skip
    yield vector(
        "order-topic-before-time", rule, "WrongTopic", topic="prod.refunds.v1",
        now=EVENT_TIME + MAX_AGE + 1,
    )  # fmt: skip
    yield vector(
        "order-age-before-storage", rule, "Expired", now=EVENT_TIME + MAX_AGE + 1,
        storedAt=EVENT_TIME + 301,
    )  # fmt: skip
    missing = {"context": {"require": ["Tenant"]}}
    yield vector(
        "order-time-before-context", rule, "Expired", now=EVENT_TIME + MAX_AGE + 1, entry=missing
    )
    yield vector(
        "order-context-before-token", rule, "ContextMissing",
        entry={"context": {"require": ["Tenant"], "evidence": "TransactionToken"}},
    )  # fmt: skip
    yield vector(
        "order-token-before-tenant", rule, "TransactionTokenInvalid",
        entry={"context": {"evidence": "TransactionToken"}, "tenants": ["globex"]},
    )  # fmt: skip
    yield vector(
        "order-tenant-before-schema", rule, "TenantNotAccepted", event(dataschema=None),
        entry={"tenants": ["globex"]},
    )  # fmt: skip
