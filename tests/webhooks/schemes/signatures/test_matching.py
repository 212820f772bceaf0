"""The time of matching reveals neither the key nor the signature."""

import hmac
from dataclasses import replace

import pytest

from tests.webhooks.schemes.senders import GITLAB_TOKEN, STRIPE, V1, Sender
from troth.webhooks.schemes.delivery import Reason, RefusedError
from troth.webhooks.schemes.scheme import Key
from troth.webhooks.schemes.signatures.matching import make_mac, match_mac

KEYS = [Key(f"k{number}", "hmac-sha256", bytes((number,)) * 32) for number in range(4)]
SIGNED = b"what is signed"


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Every comparison that is made, and its result."""
    results: list[bool] = []
    real = hmac.compare_digest

    def counting(one: bytes, other: bytes) -> bool:
        results.append(real(one, other))
        return results[-1]

    monkeypatch.setattr("hmac.compare_digest", counting)
    return results


@pytest.mark.parametrize("signer", range(4))
@pytest.mark.parametrize("place", range(3))
def test_every_signature_is_compared_with_every_key(
    compared: list[bool], signer: int, place: int
) -> None:
    signatures = [bytes(32)] * 3
    signatures[place] = make_mac(KEYS[signer], SIGNED)
    match = match_mac(KEYS, SIGNED, signatures)
    assert (match.key_id, match.mac) == (f"k{signer}", signatures[place])
    assert len(compared) == 12
    assert compared.count(True) == 1


def test_comparison_takes_as_long_without_a_match(compared: list[bool]) -> None:
    with pytest.raises(RefusedError) as caught:
        match_mac(KEYS, SIGNED, [bytes(32)] * 3)
    assert caught.value.reason is Reason.SIGNATURE_WRONG
    assert len(compared) == 12


def test_first_of_several_signing_keys_is_named() -> None:
    signatures = [make_mac(key, SIGNED) for key in (KEYS[3], KEYS[1])]
    assert match_mac(KEYS, SIGNED, signatures).key_id == "k1"
    assert match_mac(KEYS[::-1], SIGNED, signatures).key_id == "k3"


def test_key_for_another_algorithm_is_ignored() -> None:
    other = replace(KEYS[0], algorithm="hmac-sha1")
    with pytest.raises(RefusedError):
        match_mac([other], SIGNED, [make_mac(KEYS[0], SIGNED), make_mac(other, SIGNED)])


@pytest.mark.parametrize("sender", [V1, STRIPE, GITLAB_TOKEN], ids=str)
def test_schemes_compare_all_signatures_with_all_keys(compared: list[bool], sender: Sender) -> None:
    others = [sender.scheme.key(f"other-{number}", sender.other) for number in range(3)]
    for keys in ([sender.key, *others], [*others, sender.key]):
        compared.clear()
        assert sender.verified(sender.sent(), keys).key_id == "k1"
        assert len(compared) == 4
