"""Names of headers that claim an identity, a right or an origin, which anybody can write.

A header is matched by the words of its name, in any spelling: case, and whichever characters are
between the words. docs/reference/identity-headers.md publishes the lists. They are broad on
purpose: an application names a header that it needs (`allow`), and reads it under another name.
"""

import re

UNVERIFIED = b"unverified-"
"""Beginning of the name under which an application reads an allowed header."""

ANYWHERE = (
    *("authenticat", "authoriz", "email", "forwarded", "group", "identit", "impersonat", "jwt"),
    *("oidc", "principal", "role", "spiffe", "tenant", "user"),
)
"""A header is an identity header if its name has one of these, even within a word."""
BEGINNINGS = (
    *("aad", "account", "actor", "admin", "affiliation", "appengine", "assertion", "auth"),
    *("baggage", "caller", "cert", "claim", "client", "cloudscheduler", "cloudtasks", "consumer"),
    *("credential", "customer", "dapr", "delegat", "employee", "entitle", "envoy", "eppn"),
    *("hasura", "internal", "istio", "l5d", "ldap", "login", "mail", "member", "mtls", "openid"),
    *("organi", "original", "owner", "peer", "permission", "pomerium", "privilege", "remote"),
    *("requestcontext", "rewrite", "saml", "scope", "service", "shib", "socketip", "ssl"),
    *("subject", "svid", "tailscale", "team", "teleport", "tls", "trusted", "txn", "uberctx"),
    *("unverified", "verified", "vouch", "webauth", "workload", "workspace"),
)
"""A header is an identity header if a word of its name begins with one of these."""
WORDS = ("dn", "from", "gid", "iap", "ip", "iv", "oam", "org", "osso", "sm", "sso", "sub", "uid")
"""A header is an identity header if one of these is a word of its name."""
HARMLESS = (
    *("authorization", "sec-fetch-user", "service-worker", "service-worker-navigation-preload"),
    *("traceparent", "tracestate", "user-agent"),
)
"""Headers that match and are the application's, as are cookies: it verifies the credentials in
`Authorization` itself, unless the guard does.
"""

_SEPARATORS = re.compile(rb"[^a-z0-9]+")
_IDENTITY = re.compile(
    "|".join(
        (
            "|".join(ANYWHERE),
            f"(?:^|-)x?(?:{'|'.join(BEGINNINGS)})",
            f"(?:^|-)(?:{'|'.join(WORDS)})(?:-|$)",
        )
    ).encode()
)
_HARMLESS = frozenset(name.encode() for name in HARMLESS)


def spelled(name: bytes) -> bytes:
    """Return a name in lower case, with one dash between its words.

    Servers, gateways and frameworks treat `_` and `-` alike, and some do so with other characters.
    """
    return _SEPARATORS.sub(b"-", name.lower()).strip(b"-")


def claims_identity(name: bytes) -> bool:
    """Return whether a header, with its name as by `spelled`, is an identity header."""
    return name not in _HARMLESS and _IDENTITY.search(name) is not None
