"""Registry of the signature schemes, and of what differs between providers.

To add a scheme, write its module, add one line to `_SCHEMES`, and one to `_EVENT_HEADERS` if its
sender names the event in a header. The configuration of an endpoint comes as `SigningText`; nothing
here depends on the gateway.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Protocol

from troth.resources.webhooks.schemes import SchemeName
from troth.webhooks.schemes.fields.encodings import to_base64
from troth.webhooks.schemes.providers.bitbucket import Bitbucket
from troth.webhooks.schemes.providers.described.scheme import Described, DescribedHMAC
from troth.webhooks.schemes.providers.discord import Discord
from troth.webhooks.schemes.providers.github import GitHub
from troth.webhooks.schemes.providers.gitlab import GitLab
from troth.webhooks.schemes.providers.gitlab_token import GitLabToken
from troth.webhooks.schemes.providers.http_signatures.scheme import HTTPSignatures
from troth.webhooks.schemes.providers.paddle import Paddle
from troth.webhooks.schemes.providers.shopify import Shopify
from troth.webhooks.schemes.providers.slack import Slack
from troth.webhooks.schemes.providers.sns.scheme import SNS
from troth.webhooks.schemes.providers.square import Square
from troth.webhooks.schemes.providers.standard_webhooks import SECRET, StandardWebhooks
from troth.webhooks.schemes.providers.stripe import Stripe
from troth.webhooks.schemes.providers.twilio import Twilio
from troth.webhooks.schemes.scheme import KeyFormatError, Scheme


class SigningText(Protocol):
    """Signing configuration of an endpoint, as in `troth.documents.webhook_endpoint.Signing`."""

    @property
    def name(self) -> SchemeName:
        """Scheme."""

    @property
    def url(self) -> str:
        """URL to which the sender sends."""

    @property
    def described(self) -> Described | None:
        """Parameters of the scheme HMAC."""

    @property
    def topics(self) -> tuple[str, ...]:
        """Parameters of the scheme SNS."""

    @property
    def components(self) -> tuple[str, ...]:
        """Parameters of the scheme HTTPSignatures."""


def _described(signing: SigningText) -> Scheme:
    if signing.described is None:
        raise ValueError("the scheme HMAC needs a description")
    return DescribedHMAC.of(signing.described, signing.url)


_SCHEMES: Mapping[SchemeName, Callable[[SigningText], Scheme]] = {
    SchemeName.STANDARD_WEBHOOKS: lambda _: StandardWebhooks(),
    SchemeName.GITHUB: lambda _: GitHub(),
    SchemeName.GITLAB: lambda _: GitLab(),
    SchemeName.GITLAB_TOKEN: lambda _: GitLabToken(),
    SchemeName.BITBUCKET: lambda _: Bitbucket(),
    SchemeName.STRIPE: lambda _: Stripe(),
    SchemeName.SLACK: lambda _: Slack(),
    SchemeName.SHOPIFY: lambda _: Shopify(),
    SchemeName.PADDLE: lambda _: Paddle(),
    SchemeName.SQUARE: lambda signing: Square(signing.url),
    SchemeName.HMAC: _described,
    SchemeName.TWILIO: lambda signing: Twilio(signing.url),
    SchemeName.DISCORD: lambda _: Discord(),
    SchemeName.SNS: lambda signing: SNS(signing.topics),
    SchemeName.HTTP_SIGNATURES: lambda signing: HTTPSignatures(signing.url, signing.components),
}
"""Constructor of each scheme. It raises `ValueError` for invalid parameters."""

_EVENT_HEADERS: Mapping[SchemeName, frozenset[bytes]] = {
    SchemeName.GITHUB: frozenset({b"x-github-event"}),
    SchemeName.GITLAB: frozenset({b"x-gitlab-event"}),
    SchemeName.GITLAB_TOKEN: frozenset({b"x-gitlab-event"}),
    SchemeName.BITBUCKET: frozenset({b"x-event-key"}),
    SchemeName.SHOPIFY: frozenset({b"x-shopify-topic"}),
}
"""Headers that name the event, in lower case. None of them is signed."""

_PREFIXES: Mapping[SchemeName, str] = {
    SchemeName.STANDARD_WEBHOOKS: SECRET,
    SchemeName.GITLAB: SECRET,
    SchemeName.GITHUB: "",
    SchemeName.GITLAB_TOKEN: "",
    SchemeName.BITBUCKET: "",
    SchemeName.HMAC: "",
}
"""Prefix of the base64 secret, for schemes whose receiver chooses the secret."""

SECRET_BYTES = 32
_PEM = b"-----BEGIN "


def scheme_for(signing: SigningText) -> Scheme:
    """Return the scheme of an endpoint.

    Raises `ValueError`, which says what to change, also for an unknown scheme.
    """
    make = _SCHEMES.get(signing.name)
    if make is None:
        raise ValueError(f"unknown scheme {signing.name}")
    return make(signing)


def event_headers(name: SchemeName) -> frozenset[bytes]:
    """Return the headers that the gateway forwards to the target: those that name the event.

    They are not signed, so a target must not rely on them without checking the body.
    """
    return _EVENT_HEADERS.get(name, frozenset())


def new_secret(name: SchemeName, randomness: Callable[[int], bytes]) -> bytes:
    """Return a new secret for a scheme, in the form that the Secret and the sender use.

    `randomness` is `os.urandom`. Raises `ValueError` for a scheme whose sender issues the secret.
    """
    prefix = _PREFIXES.get(name)
    if prefix is None:
        raise ValueError(f"the sender issues the secret of {name}")
    return (prefix + to_base64(randomness(SECRET_BYTES))).encode()


def usable_for(text: bytes) -> frozenset[SchemeName]:
    """Return the schemes that can use a key, given as in a Secret."""
    return frozenset(name for name in _SCHEMES if _is_usable(name, text))


def flaw_of(text: bytes) -> str:
    """Return why the scheme HTTPSignatures cannot use a PEM; empty for any other text."""
    if _PEM not in text:
        return ""
    try:
        _example(SchemeName.HTTP_SIGNATURES).key("", text)
    except KeyFormatError as error:
        return str(error)
    return ""


def _is_usable(name: SchemeName, text: bytes) -> bool:
    try:
        _example(name).key("", text)
    except KeyFormatError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class _AnyHMAC:
    header: str = "x-signature"
    prefix: str = ""
    signed: str = "{body}"
    digest: str = "SHA256"
    encoding: str = "Hex"
    timestamp_header: str | None = None
    id_header: str | None = None


@dataclass(frozen=True, slots=True)
class _Signing:
    """Signing configuration whose values do not affect keys."""

    name: SchemeName
    url: str = "https://example.com/"
    described: Described | None = _AnyHMAC()
    topics: tuple[str, ...] = ("arn:aws:sns:eu-west-1:123456789012:example",)
    components: tuple[str, ...] = ()


@cache
def _example(name: SchemeName) -> Scheme:
    return scheme_for(_Signing(name))
