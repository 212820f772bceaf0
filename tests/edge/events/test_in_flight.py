"""Files that change while events are in flight."""

import pytest

from tests.edge.events.trade import CHECKOUT, Trade, bundle_map, delivered, schema
from tests.edge.mounts import DOMAIN
from tests.pki.builders import own_root
from troth.edge.events.event import Event
from troth.edge.events.message import Sealed
from troth.edge.events.opening import Opener
from troth.edge.events.rejection import Reason, Rejection
from troth.edge.identity.snapshot import IdentityError

NEWER = schema('{"required":["sku","quantity","currency"],"type":"object"}')
NEW_ORDER = b'{"sku":"A-1","quantity":2,"currency":"EUR"}'


def verdict(opener: Opener, sealed: Sealed) -> str:
    opened = opener.open(delivered(sealed))
    return "accepted" if isinstance(opened, Event) else opened.reason


def test_schema_rolls_forward_and_back_with_events_in_flight(trade: Trade) -> None:
    opener, sealer = trade.opener(), trade.sealer()
    old = sealer.seal(b'{"sku":"A-1","quantity":2}', type="shop.order.placed")
    trade.publish(schemas=[NEWER, schema()])
    new = sealer.seal(NEW_ORDER, type="shop.order.placed")
    # The consumer's files may be behind the producer's; its adapters wait for SchemaUnknown.
    assert [verdict(opener, each) for each in (old, new)] == ["accepted", Reason.SCHEMA_UNKNOWN]
    trade.consume(schemas=[NEWER, schema()])
    assert [verdict(opener, each) for each in (old, new)] == ["accepted", "accepted"]
    trade.consume(schemas=[schema(), NEWER])
    assert [verdict(opener, each) for each in (old, new)] == ["accepted", "accepted"]
    trade.consume(schemas=[NEWER])
    assert [verdict(opener, each) for each in (old, new)] == [Reason.SCHEMA_UNKNOWN, "accepted"]


def test_half_written_document_changes_nothing(trade: Trade) -> None:
    opener, sealed = trade.opener(), trade.seal()
    assert verdict(opener, sealed) == "accepted"
    document = trade.fulfilment.identity.path / "identity.json"
    whole = document.read_bytes()
    document.write_bytes(whole[: len(whole) // 2])
    assert verdict(opener, sealed) == "accepted"
    document.write_bytes(b"")
    assert verdict(opener, sealed) == "accepted"


def test_first_document_that_is_half_written_opens_nothing(trade: Trade) -> None:
    document = trade.fulfilment.identity.path / "identity.json"
    document.write_bytes(document.read_bytes()[:100])
    with pytest.raises(IdentityError, match="files cannot be used"):
        trade.open(delivered(trade.seal()))


def test_grant_that_is_revoked_rejects_the_backlog(trade: Trade) -> None:
    opener, backlog = trade.opener(), [trade.seal() for _ in range(3)]
    assert verdict(opener, backlog[0]) == "accepted"
    trade.consume(producers=[])
    assert {verdict(opener, each) for each in backlog} == {Reason.PRODUCER_NOT_GRANTED}
    trade.consume(producers=[CHECKOUT])
    assert {verdict(opener, each) for each in backlog} == {"accepted"}


def test_compromised_root_rejects_the_backlog(trade: Trade) -> None:
    opener, sealed = trade.opener(), trade.seal()
    assert verdict(opener, sealed) == "accepted"
    without = bundle_map({DOMAIN: own_root(which="next")})
    trade.consume(bundles=without, event_bundles=without)
    assert verdict(opener, sealed) == Reason.CERTIFICATE_INVALID


def test_policy_that_is_deleted_is_no_fault_of_the_backlog(trade: Trade) -> None:
    opener, sealed = trade.opener(), trade.seal()
    trade.consume(policy="shop/other")
    opened = opener.open(delivered(sealed))
    assert isinstance(opened, Rejection)
    assert opened.reason is Reason.NOT_GRANTED
    trade.consume()
    assert verdict(opener, sealed) == "accepted"
