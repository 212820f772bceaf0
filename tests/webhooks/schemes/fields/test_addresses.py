"""Signed URLs come from the configuration, in HTTP's canonical form."""

import pytest

from troth.webhooks.schemes.fields.addresses import Address


@pytest.mark.parametrize(
    ("url", "authority"),
    [
        ("https://hooks.example.com/a", "hooks.example.com"),
        ("https://Hooks.Example.COM/a", "hooks.example.com"),
        ("https://a.example:443/", "a.example"),
        ("http://a.example:80", "a.example"),
        ("https://a.example:80/", "a.example:80"),
        ("http://a.example:443/", "a.example:443"),
        ("https://a.example:8443/", "a.example:8443"),
        ("https://[2001:DB8::1]:8443/", "[2001:db8::1]:8443"),
    ],
)
def test_authority_is_lower_case_without_the_default_port(url: str, authority: str) -> None:
    """RFC 9421 section 2.2.3."""
    assert Address.parse(url).authority == authority


@pytest.mark.parametrize(
    ("url", "without_port", "with_port"),
    [
        ("https://A.example/b", "https://A.example/b", "https://A.example:443/b"),
        ("https://a.example:443/b", "https://a.example/b", "https://a.example:443/b"),
        ("https://a.example:8443", "https://a.example", "https://a.example:8443"),
        ("http://a.example/", "http://a.example/", "http://a.example:80/"),
    ],
)
def test_url_has_a_port_or_none(url: str, without_port: str, with_port: str) -> None:
    address = Address.parse(url)
    assert (address.without_port(), address.with_port()) == (without_port, with_port)
