"""Senders of webhooks, recognized by words in names and by their published addresses."""

from collections.abc import Iterable
from ipaddress import ip_network

from troth.audit.facts.ranges import Network
from troth.audit.facts.words import words
from troth.resources.webhooks.schemes import SchemeName

_HOOK = frozenset({"webhook", "webhooks", "hook", "hooks", "ipn"})
"""Words by which a receiver of webhooks is named."""
_SCHEMES = {
    "stripe": SchemeName.STRIPE,
    "github": SchemeName.GITHUB,
    "gitlab": SchemeName.GITLAB,
    "bitbucket": SchemeName.BITBUCKET,
    "jira": SchemeName.BITBUCKET,
    "slack": SchemeName.SLACK,
    "shopify": SchemeName.SHOPIFY,
    "twilio": SchemeName.TWILIO,
    "paddle": SchemeName.PADDLE,
    "square": SchemeName.SQUARE,
    "discord": SchemeName.DISCORD,
    "sns": SchemeName.SNS,
}
_ONLY_CALL_BACK = frozenset(
    {"stripe", "slack", "shopify", "twilio", "paypal", "adyen", "sendgrid", "mailgun", "mollie"}
)
"""Services that nobody hosts, so that something named after one receives what it sends. A host
named `github` or `jira` may be a server of one's own."""
_PUBLISHED = {
    SchemeName.GITHUB: (
        "192.30.252.0/22",
        "185.199.108.0/22",
        "140.82.112.0/20",
        "143.55.64.0/20",
        "9.234.98.160/28",
        "9.234.98.176/28",
        "9.234.106.48/28",
    ),
    SchemeName.STRIPE: (
        "3.18.12.63/32",
        "3.130.192.231/32",
        "13.235.14.237/32",
        "13.235.122.149/32",
        "18.211.135.69/32",
        "35.154.171.200/32",
        "52.15.183.38/32",
        "54.88.130.119/32",
        "54.88.130.237/32",
        "54.187.174.169/32",
        "54.187.205.235/32",
        "54.187.216.72/32",
    ),
    SchemeName.BITBUCKET: ("104.192.136.0/21", "185.166.140.0/22"),
}
"""Sources: api.github.com/meta (and its changelog of 2026-10-29), docs.stripe.com/ips,
ip-ranges.atlassian.com."""
_BY_NETWORK = {ip_network(each): scheme for scheme, ranges in _PUBLISHED.items() for each in ranges}


def receives_webhooks(names: Iterable[str], networks: Iterable[Network]) -> bool:
    """Return whether names, or the networks that are admitted, say that webhooks come in."""
    found = frozenset(words(*names))
    named = bool(found & _HOOK) or bool(found & _ONLY_CALL_BACK)
    return named or any(each in _BY_NETWORK for each in networks)


def scheme_of(names: Iterable[str], networks: Iterable[Network]) -> SchemeName | None:
    """Return the scheme of the sender that names or networks point to, None if they do not."""
    found = words(*names)
    named = next((_SCHEMES[each] for each in found if each in _SCHEMES), None)
    if named is not None:
        return named
    return next((_BY_NETWORK[each] for each in networks if each in _BY_NETWORK), None)
