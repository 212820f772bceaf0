"""Strict parsing of X-Forwarded-Client-Cert."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from troth.edge.inbound.forwarded import Forwarded, parse_forwarded
from troth.pki.encodings import base64url

CLIENT = "spiffe://prod.shop.example/ns/shop/sa/checkout"
OTHER = "spiffe://prod.shop.example/ns/shop/sa/admin"
PROXY = "spiffe://prod.shop.example/ns/shop/sa/gateway"
HASH, OTHER_HASH = "ab" * 32, "cd" * 32
THUMBPRINT = base64url.encode(bytes.fromhex(HASH))
PLAIN = f"By={PROXY};Hash={HASH};URI={CLIENT}"
SPOOFED = f"By={PROXY};Hash={OTHER_HASH};URI={OTHER}"


@pytest.mark.parametrize(
    "value",
    [
        PLAIN,
        f'By={PROXY};Hash={HASH};Subject="/C=US/O=Shop, Inc.;x/CN=a";URI={CLIENT}',
        f'By={PROXY};Hash={HASH};Cert="-----BEGIN%20CERTIFICATE";Subject="";URI={CLIENT}',
        f'By={PROXY};Hash={HASH};Subject="CN=\\"quoted\\"";URI={CLIENT};DNS=a;DNS=b',
        f'BY={PROXY};hash={HASH.upper()};uri="{CLIENT}"',
        f"{SPOOFED},{PLAIN}",
        f'Hash={OTHER_HASH};Subject="a,b;URI={OTHER}";URI={OTHER},{PLAIN}',
        f"{SPOOFED};DNS=,{PLAIN}",
        f"{PLAIN};Future=x",
    ],
)
def test_last_element_names_the_client(value: str) -> None:
    read = parse_forwarded(value.encode())
    assert (read.spiffe_id, read.thumbprint) == (CLIENT, THUMBPRINT)


def test_by_field_of_an_element_is_read() -> None:
    assert parse_forwarded(PLAIN.encode()) == Forwarded(CLIENT, THUMBPRINT, (PROXY,))
    assert parse_forwarded(f"Hash={HASH};URI={CLIENT}".encode()).by == ()


@pytest.mark.parametrize(
    "value",
    [
        "",
        ",",
        ";",
        "=",
        f"{PLAIN},",
        f"{PLAIN};",
        f",{PLAIN}",
        f"{SPOOFED},,{PLAIN}",
        f"{SPOOFED}, {PLAIN}",
        f"{PLAIN} ",
        f" {PLAIN}",
        f"URI={CLIENT}",
        f"Hash={HASH}",
        f"Hash={HASH};URI=",
        f"Hash={HASH};URI={CLIENT};URI={OTHER}",
        f"Hash={HASH};URI={CLIENT};uri={CLIENT}",
        f"Hash={HASH};Hash={HASH};URI={CLIENT}",
        f"Hash={HASH[:-1]};URI={CLIENT}",
        f"Hash={HASH}00;URI={CLIENT}",
        f"Hash={HASH[:-1]}g;URI={CLIENT}",
        f"Hash={HASH[:-2]}\u0661\u0661;URI={CLIENT}",
        f"Hash={HASH};URI=https://checkout.example",
        f"Hash={HASH};URI=spiffe://prod.shop.example",
        f"Hash={HASH};URI={CLIENT}/../admin",
        f"Hash={HASH};URI={CLIENT}%2F",
        f"Hash={HASH};URI={CLIENT}=x",
        f"Hash={HASH};URI={CLIENT}\\",
        f'Hash={HASH};Subject="CN=a;URI={CLIENT}',
        f'Hash={HASH};Subject="CN=a\\";URI={CLIENT}',
        f'Hash={HASH};Subject="CN=a\\\\";URI={CLIENT}',
        f'Hash={HASH};Subject="CN=a\\n";URI={CLIENT}',
        f'Hash={HASH};Subject=CN="a";URI={CLIENT}',
        f'Hash={HASH};Subject="a"b;URI={CLIENT}',
        f'Hash={HASH};"Subject"=a;URI={CLIENT}',
        f"Hash={HASH};Subject=CN=a;URI={CLIENT}",
        f"Hash={HASH};URI={CLIENT}\0",
        f"Hash={HASH};URI={CLIENT}\n",
        f"Hash = {HASH};URI={CLIENT}",
        f"-Hash={HASH};URI={CLIENT}",
    ],
)
def test_ambiguous_header_is_rejected(value: str) -> None:
    with pytest.raises(ValueError, match=r"^the "):
        parse_forwarded(value.encode("latin-1", "replace"))


@pytest.mark.parametrize(
    "begun",
    [
        f'URI={OTHER};Hash={OTHER_HASH};By="',
        f'URI={OTHER};Hash={OTHER_HASH};By="\\',
        f"URI={OTHER};Hash={OTHER_HASH};By=\\",
        f'URI={OTHER};Hash={OTHER_HASH};Subject="x\\"',
    ],
)
@pytest.mark.parametrize("subject", ["", 'Subject="";', 'Subject="CN=a";'])
def test_open_quote_does_not_swallow_the_gateways_element(begun: str, subject: str) -> None:
    appended = f"By={PROXY};Hash={HASH};{subject}URI={CLIENT}"
    with suppress(ValueError):
        assert parse_forwarded(f"{begun},{appended}".encode()).spiffe_id == CLIENT


def test_large_header_is_rejected() -> None:
    with pytest.raises(ValueError, match="too long"):
        parse_forwarded((f"{PLAIN}," * 1000 + PLAIN).encode())


@given(st.binary(max_size=200) | st.text('By=;,"\\Hash URI:/a0').map(str.encode))
def test_any_header_is_parsed_or_rejected(value: bytes) -> None:
    with suppress(ValueError):
        assert parse_forwarded(value)


@given(st.text('abc,;="\\ ', max_size=40))
def test_client_cannot_change_the_gateways_element(text: str) -> None:
    """The client's own header comes first; what the gateway appends stands at the end."""
    with suppress(ValueError):
        assert parse_forwarded(f"{text},{PLAIN}".encode()).spiffe_id == CLIENT


@given(st.integers(0), st.characters(max_codepoint=255))
def test_changed_character_gives_another_client_or_none(place: int, character: str) -> None:
    place %= len(PLAIN)
    changed = PLAIN[:place] + character + PLAIN[place + 1 :]
    with suppress(ValueError):
        read = parse_forwarded(changed.encode("latin-1"))
        unchanged = (CLIENT, THUMBPRINT)
        inert = character.lower() == PLAIN[place].lower() or place < PLAIN.index("Hash")
        assert inert or (read.spiffe_id, read.thumbprint) != unchanged
