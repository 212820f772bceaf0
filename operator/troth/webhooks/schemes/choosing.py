"""Which scheme an endpoint has, and what differs from provider to provider.

To add a scheme: write its module, add one line to `_SCHEMES`, and to `_PASSED_ON` if its sender
names the event in a header. Nothing here knows of the gateway: what an endpoint says of its signing
comes as `SigningText`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Protocol

from troth.resources.webhook_schemes import SchemeName
from troth.webhooks.schemes.bitbucket import Bitbucket
from troth.webhooks.schemes.github import GitHub
from troth.webhooks.schemes.scheme import KeyFormatError, Scheme


class DescribedText(Protocol):
    """An HMAC that no scheme has a name for, as `troth.webhooks.endpoint.Described` has it."""

    @property
    def header(self) -> str:
        """The header with the signature."""

    @property
    def prefix(self) -> str:
        """What stands before the signature."""

    @property
    def signed(self) -> str:
        """What is signed, a template."""

    @property
    def digest(self) -> str:
        """SHA256, SHA512 or SHA1."""

    @property
    def encoding(self) -> str:
        """Hex or Base64."""

    @property
    def timestamp_header(self) -> str | None:
        """The header with `{timestamp}`."""

    @property
    def id_header(self) -> str | None:
        """The header with `{id}`, or with an id that is not signed."""


class SigningText(Protocol):
    """How an endpoint's sender signs, as `troth.webhooks.endpoint.Signing` has it."""

    @property
    def name(self) -> SchemeName:
        """The scheme."""

    @property
    def url(self) -> str:
        """The URL as the sender knows it."""

    @property
    def described(self) -> DescribedText | None:
        """For the scheme HMAC."""

    @property
    def topics(self) -> tuple[str, ...]:
        """For the scheme SNS."""

    @property
    def components(self) -> tuple[str, ...]:
        """For the scheme HTTPSignatures."""


_SCHEMES: Mapping[SchemeName, Callable[[SigningText], Scheme]] = {
    SchemeName.GITHUB: lambda _: GitHub(),
    SchemeName.BITBUCKET: lambda _: Bitbucket(),
}
"""How each scheme is made of what an endpoint says. One that cannot be made is a `ValueError`."""

_PASSED_ON: Mapping[SchemeName, frozenset[bytes]] = {
    SchemeName.GITHUB: frozenset({b"x-github-event"}),
    SchemeName.BITBUCKET: frozenset({b"x-event-key"}),
}
"""Headers that name the event, in lower case. None of them is signed."""


def scheme_for(signing: SigningText) -> Scheme:
    """Return the scheme of an endpoint; raises `ValueError`, which says what to mend.

    A scheme that this version does not know is a `ValueError` as well.
    """
    make = _SCHEMES.get(signing.name)
    if make is None:
        raise ValueError(f"the scheme {signing.name} is not known here")
    return make(signing)


def passes_on(name: SchemeName) -> frozenset[bytes]:
    """Return the headers that may go on to the target: those that name the event.

    They are not signed: a target that does one thing or another by them asks the body as well.
    """
    return _PASSED_ON.get(name, frozenset())


def usable_for(text: bytes) -> frozenset[SchemeName]:
    """Return the schemes that can use a key, as a Secret has it."""
    return frozenset(name for name in _SCHEMES if _is_usable(name, text))


def _is_usable(name: SchemeName, text: bytes) -> bool:
    try:
        _example(name).key("", text)
    except KeyFormatError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class _Described:
    header: str = "x-signature"
    prefix: str = ""
    signed: str = "{body}"
    digest: str = "SHA256"
    encoding: str = "Hex"
    timestamp_header: str | None = None
    id_header: str | None = None


@dataclass(frozen=True, slots=True)
class _Signing:
    """Says nothing that a key would depend on."""

    name: SchemeName
    url: str = "https://example.com/"
    described: DescribedText | None = _Described()
    topics: tuple[str, ...] = ("arn:aws:sns:eu-west-1:123456789012:example",)
    components: tuple[str, ...] = ()


@cache
def _example(name: SchemeName) -> Scheme:
    return scheme_for(_Signing(name))
