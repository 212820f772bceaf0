"""Headers of Kafka and NATS hold an event in exactly one form."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.edge.events.trade import TOPIC, Trade
from troth.edge.events.attributes import LONGEST_VALUE, longest
from troth.edge.events.bindings import kafka, nats
from troth.edge.events.event import Event
from troth.edge.events.message import Message, Sealed
from troth.edge.events.rejection import Reason

Pairs = list[tuple[str, bytes | None]]
TEXTS = st.text(
    st.characters(exclude_categories=["C", "Z"]) | st.just(" "), min_size=1, max_size=80
)


def by_kafka(pairs: Pairs) -> Message:
    return kafka.read(TOPIC, pairs, b"{}")


def by_nats(pairs: Pairs) -> Message:
    headers: dict[str, list[str]] = {}
    for name, value in pairs:
        headers.setdefault(name, []).append((value or b"").decode("utf-8", "surrogateescape"))
    return nats.read(TOPIC, headers, b"{}")


BINDINGS = [pytest.param(by_kafka, "ce_", id="kafka"), pytest.param(by_nats, "ce-", id="nats")]
Read = Callable[[Pairs], Message]


def reason(message: Message) -> Reason | None:
    return message.fault.reason if message.fault else None


@given(TEXTS)
def test_value_returns_as_it_was_sent(text: str) -> None:
    sealed = Sealed(TOPIC, {"id": text, "datacontenttype": "text/plain"}, b"{}")
    sent: Pairs = list(kafka.headers(sealed))
    assert kafka.read(TOPIC, sent, b"{}").attributes == sealed.attributes
    assert nats.read(TOPIC, nats.headers(sealed), b"{}").attributes == sealed.attributes


@given(TEXTS)
def test_nats_header_is_printable_ascii_without_spaces(text: str) -> None:
    value = nats.headers(Sealed(TOPIC, {"id": text}, b""))["ce-id"]
    assert all("!" <= each <= "~" for each in value)


@given(st.binary(max_size=60))
def test_nats_accepts_one_form_of_each_value(value: bytes) -> None:
    message = by_nats([("ce-id", value)])
    if message.fault is None:
        written = nats.headers(Sealed(TOPIC, message.attributes, b""))["ce-id"]
        assert written.encode() == value


def test_sealed_event_passes_through_both_brokers(trade: Trade) -> None:
    sealed = trade.seal(tenant="Bäckerei 5 %", subject='"quoted"')
    sent: Pairs = list(kafka.headers(sealed))
    assert isinstance(trade.open(kafka.read(TOPIC, sent, sealed.data)), Event)
    event = trade.open(nats.read(TOPIC, nats.headers(sealed), sealed.data))
    assert isinstance(event, Event)
    assert event.tenant == "Bäckerei 5 %"


@pytest.mark.parametrize(("read", "prefix"), BINDINGS)
def test_other_headers_are_ignored_and_kept_for_dead_letters(read: Read, prefix: str) -> None:
    pairs: Pairs = [("traceparent", b"00-1"), (f"{prefix}id", b"7"), ("x", b"1"), ("x", b"2")]
    message = read(pairs)
    assert message.attributes == {"id": "7"}
    assert sorted(message.headers) == sorted((name, value or b"") for name, value in pairs)


@pytest.mark.parametrize(("read", "prefix"), BINDINGS)
@pytest.mark.parametrize(
    "pairs",
    [
        [("{}id", b"7"), ("{}id", b"7")],
        [("{}id", b"7"), ("{}ID", b"8")],
        [("{}Id", b"7")],
        [("CE_id", b"7")],
        [("Ce-id", b"7")],
        [(" {}id", b"7")],
        [("{}", b"7")],
        [("{}id ", b"7")],
        [("{}troth_tenant", b"acme")],
        [("{}abcdefghijklmnopqrstu", b"7")],
        [("{}id", b"")],
        [("{}id", b"\xff")],
    ],
)
def test_headers_in_another_form_are_malformed(read: Read, prefix: str, pairs: Pairs) -> None:
    message = read([(name.format(prefix), value) for name, value in pairs])
    assert reason(message) is Reason.MALFORMED
    assert message.attributes == {}
    assert len(message.headers) == len(pairs)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ce-id", b"7"),
        ("Content-Type", b"text/plain"),
        ("ce_datacontenttype", b"text/plain"),
        ("ce_id", None),
    ],
)
def test_kafka_has_one_name_for_each_attribute(name: str, value: bytes | None) -> None:
    assert reason(by_kafka([(name, value)])) is Reason.MALFORMED


@pytest.mark.parametrize("value", [b"a b", b'a"b', b"50%", b"%c3%a4", b"%41", b"\xc3\xa4", b"%ff"])
def test_nats_value_that_is_encoded_otherwise_is_malformed(value: bytes) -> None:
    assert reason(by_nats([("ce-id", value)])) is Reason.MALFORMED


@pytest.mark.parametrize(("read", "prefix"), BINDINGS)
@pytest.mark.parametrize(
    "pairs",
    [
        [(f"h{i}", b"1") for i in range(10_000)],
        [("h", b"x" * 600_000)],
        [(f"{{}}a{i}", b"1") for i in range(65)],
        [("{}id", b"x" * 1025)],
        [("{}trothchain", b"x" * 16_385)],
    ],
)
def test_large_headers_are_rejected(read: Read, prefix: str, pairs: Pairs) -> None:
    message = read([(name.format(prefix), value) for name, value in pairs])
    assert reason(message) is Reason.TOO_LARGE


@given(
    st.lists(
        st.tuples(
            st.text(st.sampled_from("ce_-idtroh CE"), max_size=8), st.binary(max_size=8) | st.none()
        ),
        max_size=6,
    )
)
def test_reading_never_fails(pairs: Pairs) -> None:
    for read in (by_kafka, by_nats):
        message = read(pairs)
        assert message.fault is None or not message.attributes


@pytest.mark.parametrize(("read", "prefix"), BINDINGS)
@pytest.mark.parametrize("name", ["id", "dataschema", "trothtxntoken", "trothchain"])
def test_each_attribute_has_its_own_limit(read: Read, prefix: str, name: str) -> None:
    most = longest(name)
    assert most >= LONGEST_VALUE
    assert reason(read([(prefix + name, b"7" * most)])) is None
    assert reason(read([(prefix + name, b"7" * (most + 1))])) is Reason.TOO_LARGE


@pytest.mark.parametrize(("read", "prefix"), BINDINGS)
@pytest.mark.parametrize(
    ("pairs", "first"),
    [
        ([("{}id", b""), *((f"h{i}", b"1") for i in range(256))], Reason.MALFORMED),
        ([*((f"h{i}", b"1") for i in range(257)), ("{}id", b"")], Reason.TOO_LARGE),
        ([("h", b"x" * 600_000), ("{}id", b"")], Reason.TOO_LARGE),
        ([*((f"{{}}a{i}", b"1") for i in range(65)), ("CE_id", b"7")], Reason.TOO_LARGE),
    ],
)
def test_first_fault_in_the_order_of_headers_counts(
    read: Read, prefix: str, pairs: Pairs, first: Reason
) -> None:
    assert reason(read([(name.format(prefix), value) for name, value in pairs])) is first


def test_long_value_of_nats_is_not_cached() -> None:
    before = nats._quoted.cache_info().currsize
    assert reason(by_nats([("ce-trothchain", b"%20" * 4_000)])) is None
    assert reason(by_nats([("ce-trothchain", b"%41" * 4_000)])) is Reason.MALFORMED
    assert nats._quoted.cache_info().currsize == before
