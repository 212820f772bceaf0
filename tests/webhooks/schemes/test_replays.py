"""Replays are recognized by a signed ID, or else by the signed content."""

from dataclasses import replace

import pytest

from tests.webhooks.schemes.senders import (
    BODY,
    GITLAB_TOKEN,
    NOW,
    PADDLE,
    PLAIN_HMAC,
    SENDERS,
    SLACK,
    SQUARE,
    STAMP,
    STRIPE,
    V1,
    Sender,
    header_of,
    with_header,
)
from troth.webhooks.schemes.scheme import Stamp, replay_of

LATER = Stamp(NOW + 60, STAMP.delivery_id)
WITHOUT_ID = [b"{}", b"[]", b"", b"not JSON", b'{"id": 7, "event_id": {}}', b'{"id": ""}']


@pytest.mark.parametrize(
    "sender", [each for each in SENDERS if each.name in ("v1", "v1a", "GitLab")], ids=str
)
def test_retry_is_recognized_by_its_signed_id(sender: Sender) -> None:
    first = sender.verified(sender.sent())
    retried = sender.verified(sender.sent(b"{}", LATER))
    assert retried.replay == first.replay
    assert retried.delivery_id == STAMP.delivery_id


@pytest.mark.parametrize("sender", [STRIPE, PADDLE, SQUARE], ids=str)
def test_retry_is_recognized_by_the_id_in_its_body(sender: Sender) -> None:
    first = sender.verified(sender.sent())
    retried = sender.verified(sender.sent(BODY.replace(b"12", b"13"), LATER))
    assert retried.replay == first.replay
    assert retried.delivery_id == ("evt_1" if sender is STRIPE else "ntf_1")


@pytest.mark.parametrize("sender", [STRIPE, PADDLE, SQUARE], ids=str)
@pytest.mark.parametrize("body", WITHOUT_ID)
def test_body_without_an_id_is_recognized_by_signed_content(sender: Sender, body: bytes) -> None:
    first = sender.verified(sender.sent(body))
    assert first.delivery_id is None
    assert sender.verified(sender.sent(body)).replay == first.replay
    assert sender.verified(sender.sent(body + b" ")).replay != first.replay


@pytest.mark.parametrize("sender", [STRIPE, PADDLE], ids=str)
@pytest.mark.parametrize("body", [BODY, b"no id here"])
def test_delivery_with_two_signatures_is_one_after_removing_either(
    sender: Sender, body: bytes
) -> None:
    """While a secret is rolled the sender signs with both."""
    new = replace(sender, text=sender.other)
    keys = [sender.key, replace(new.key, id="k2")]
    separator = b"," if sender is STRIPE else b";"
    one, other = (header_of(each.sent(body), sender.signature) for each in (sender, new))
    both = separator.join((one, other.partition(separator)[2]))
    sent = sender.sent(body)
    found = [
        sender.verified(with_header(sent, sender.signature, header), keys)
        for header in (both, one, other)
    ]
    assert [each.key_id for each in found] == ["k1", "k1", "k2"]
    assert len({each.replay for each in found}) == 1


@pytest.mark.parametrize("sender", [SLACK, PLAIN_HMAC], ids=str)
def test_delivery_without_signed_id_is_recognized_by_its_mac(sender: Sender) -> None:
    first = sender.verified(sender.sent()).replay
    other = sender.verified(sender.sent(BODY, Stamp(NOW + 1, "other"))).replay
    assert (other == first) is (sender is PLAIN_HMAC)


def test_replay_value_separates_its_parts() -> None:
    assert replay_of(b"ab", b"c") != replay_of(b"a", b"bc") != replay_of(b"abc")
    assert replay_of(b"", b"a") != replay_of(b"a", b"")


def test_id_is_never_mistaken_for_a_mac() -> None:
    found = {each.verified(each.sent()).replay for each in (V1, STRIPE, SLACK, GITLAB_TOKEN)}
    assert len(found) == 4


def test_unsigned_ids_count_like_the_body() -> None:
    first = GITLAB_TOKEN.verified(GITLAB_TOKEN.sent()).replay
    assert GITLAB_TOKEN.verified(GITLAB_TOKEN.sent(b"{}")).replay != first
    another = GITLAB_TOKEN.sent(BODY, Stamp(NOW, "another"))
    assert GITLAB_TOKEN.verified(another).replay != first
    named = with_header(GITLAB_TOKEN.sent(), b"x-gitlab-event-uuid", b"13792a34")
    assert GITLAB_TOKEN.verified(named).replay != first
