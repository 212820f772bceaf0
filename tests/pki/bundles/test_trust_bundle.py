"""Trust bundles: the same set is always the same text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pki.builders import Made, by_hand, key
from troth.pki.bundles.trust_bundle import bundle_pem, parse_bundle
from troth.pki.encodings.pem import fingerprint
from troth.pki.errors import CertificateError
from troth.pki.keys.private import private_key_pem

ANCHORS = [by_hand(name) for name in ("one", "two", "three")]


@given(st.lists(st.sampled_from(ANCHORS), min_size=1))
def test_order_and_repetition_do_not_change_the_bundle(anchors: list[Made]) -> None:
    text = bundle_pem(anchor.pem for anchor in anchors)
    assert text == bundle_pem(reversed([anchor.pem for anchor in anchors]))
    assert parse_bundle(text) == tuple(
        sorted({fingerprint(anchor.certificate) for anchor in anchors})
    )


def test_bundle_without_anchors_is_empty() -> None:
    assert bundle_pem([]) == ""


def test_anchor_may_hold_several_certificates() -> None:
    joined = b"".join(anchor.pem for anchor in ANCHORS)
    assert bundle_pem([joined]) == bundle_pem(anchor.pem for anchor in ANCHORS)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "junk",
        ANCHORS[0].pem.decode()[:-5],
        "# note\n" + ANCHORS[0].pem.decode(),
        ANCHORS[0].pem.decode() + private_key_pem(key()).decode(),
    ],
)
def test_invalid_bundle_is_rejected(text: str) -> None:
    with pytest.raises(CertificateError):
        parse_bundle(text)
