"""Names of HTTP headers that carry an identity by convention of a gateway or proxy."""

import re
from collections.abc import Iterator

from troth.audit.facts.words import vocabulary, words

IDENTITY_HEADERS = frozenset(
    {
        "x-user",
        "x-user-id",
        "x-user-email",
        "x-username",
        "x-tenant",
        "x-tenant-id",
        "x-roles",
        "x-user-roles",
        "x-scopes",
        "remote-user",
        "x-remote-user",
        "x-remote-group",
        "x-forwarded-user",
        "x-forwarded-email",
        "x-forwarded-groups",
        "x-forwarded-preferred-username",
        "x-auth-request-user",
        "x-auth-request-email",
        "x-auth-request-groups",
        "x-auth-request-preferred-username",
        "x-amzn-oidc-identity",
        "x-amzn-oidc-data",
        "x-authenticated-user",
        "x-authenticated-userid",
        "x-authenticated-scope",
        "x-consumer-username",
        "x-consumer-id",
        "x-consumer-custom-id",
        "x-credential-identifier",
        "x-goog-authenticated-user-email",
        "x-goog-authenticated-user-id",
        "x-jwt-payload",
        "x-webauth-user",
    }
)
"""Sources: documentation of oauth2-proxy, nginx auth_request, AWS ALB, Kong, Istio, Google IAP."""

_WORD = re.compile(r"\$?[A-Za-z][A-Za-z0-9_-]{3,63}")

_ABOUT_A_PERSON = vocabulary(
    "user username userid email group groups tenant role roles scope scopes subject sub account "
    "identity principal actor claims jwt uid org organization consumer customer member"
)
"""Words in the names of headers that say who calls, if a gateway adds them."""


def headers_in(text: str) -> Iterator[str]:
    """Yield the identity headers that a text names, in lower case, each once.

    `HTTP_X_USER` and `$http_x_user`, the forms of CGI and nginx, count as well. Other words with
    underscores, such as the `remote_user` of Ansible and of nginx, are no names of headers.
    """
    found: dict[str, None] = {}
    for match in _WORD.finditer(text):
        word = match.group()
        plain = word.lstrip("$").lower()
        if "_" in plain and not plain.startswith("http_") and not word.isupper():
            continue
        name = plain.replace("_", "-").removeprefix("http-")
        if name in IDENTITY_HEADERS:
            found[name] = None
    yield from found


def says_who_calls(header: str) -> bool:
    """Return whether a header that a gateway adds carries an identity, judged by its name."""
    return header.lower() in IDENTITY_HEADERS or not _ABOUT_A_PERSON.isdisjoint(words(header))
