"""Retired roots and token keys verify events up to 300 seconds after their retirement."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.edge.events.trade import (
    CHECKOUT,
    LONG_AGO,
    NOW,
    ROOT,
    Trade,
    bundle_map,
    delivered,
    leaf,
)
from tests.edge.mounts import DOMAIN, KEY, PARTNER, PARTNER_KEY, transaction_token
from tests.pki.builders import own_root
from troth.documents.event_bundles import TOLERANCE
from troth.edge.events.event import Event
from troth.edge.events.rejection import Reason, Rejection
from troth.edge.events.sealing import SealingError
from troth.edge.identity.svid import verify_svid
from troth.pki.bundles.spiffe_bundle import bundle_document, parse_bundle_map
from troth.pki.encodings.pem import read_certificates
from troth.pki.keys.jwk import public_jwk

NEXT = own_root(which="next", now=LONG_AGO)
BY_TOKEN = {"require": ["Actor", "Subject", "Tenant"], "evidence": "TransactionToken"}
RETIRED = (
    "the authority of the producer's certificate was retired more than 300 s before the time of "
    "the event"
)


def with_retired(*, root: float | None = None, key: float | None = None) -> dict[str, Any]:
    """The bundles, with a root and a token key that were retired at a time in seconds."""
    old_root, old_key = ROOT.authority.anchors[0], public_jwk(KEY.public_key())
    document = bundle_map()
    document["trust_domains"][DOMAIN] = bundle_document(
        NEXT.authority.anchors if root is not None else [old_root],
        [public_jwk(PARTNER_KEY.public_key()) if key is not None else old_key],
        retired_authorities=[] if root is None else [(old_root, moment(root))],
        retired_keys=[] if key is None else [(old_key, moment(key))],
    )
    return document


def moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def token(at: float) -> str:
    return transaction_token(now=moment(at))


def opened_at(trade: Trade, at: float, **bundle: float) -> Event | Rejection:
    """Seal an event at a time with the old keys, and open it with some of them retired."""
    trade.now = at
    trade.publish(leaf(CHECKOUT, at=at), context=BY_TOKEN)
    sealed = trade.seal(transaction=token(at))
    later = bundle_map({DOMAIN: NEXT}, keys={DOMAIN: PARTNER_KEY, PARTNER: PARTNER_KEY})
    trade.consume(context=BY_TOKEN, bundles=later, event_bundles=with_retired(**bundle))
    return trade.open(delivered(sealed))


@pytest.mark.parametrize("after", [-86400.0, 0.0, TOLERANCE])
def test_event_sealed_until_300_s_after_the_retirement_opens(trade: Trade, after: float) -> None:
    assert isinstance(opened_at(trade, NOW + after, root=NOW, key=NOW), Event)


@pytest.mark.parametrize("after", [TOLERANCE + 1, 86400.0])
def test_event_sealed_later_with_a_retired_root_is_rejected(trade: Trade, after: float) -> None:
    opened = opened_at(trade, NOW + after, root=NOW)
    assert isinstance(opened, Rejection)
    assert (opened.reason, opened.detail) == (Reason.CERTIFICATE_INVALID, RETIRED)


@pytest.mark.parametrize("after", [TOLERANCE + 1, 86400.0])
def test_event_with_a_later_token_of_a_retired_key_is_rejected(trade: Trade, after: float) -> None:
    opened = opened_at(trade, NOW + after, key=NOW)
    assert isinstance(opened, Rejection)
    assert opened.reason is Reason.TRANSACTION_TOKEN_INVALID


def test_producer_does_not_seal_with_a_token_of_a_key_that_was_retired(trade: Trade) -> None:
    trade.publish(context=BY_TOKEN)
    trade.checkout.write_bundle(bundle_map(), for_events=with_retired(key=NOW - 301))
    with pytest.raises(SealingError) as raised:
        trade.seal(transaction=token(NOW))
    assert raised.value.reason is Reason.TRANSACTION_TOKEN_INVALID


def test_certificate_of_another_time_is_not_reported_as_that_of_a_retired_root() -> None:
    own = leaf(CHECKOUT, at=NOW)
    bundles = parse_bundle_map(json.dumps(with_retired(root=NOW)))
    svid = verify_svid(read_certificates(own.pem, "the leaf"), bundles)
    assert svid.is_valid_at(NOW)
    for at in (NOW - 7200, NOW + 2 * 86400):
        assert not svid.is_valid_at(at)
        assert not svid.is_retired_at(at)
