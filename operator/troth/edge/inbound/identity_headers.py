"""Names of headers that claim an identity, a right or an origin, which anybody can write.

A header is matched by the words of its name, in any spelling: case, and whichever characters are
between the words. docs/reference/identity-headers.md publishes the lists. They are broad on
purpose: an application names a header that it needs (`allow`), and reads it under another name.

No list of words has all claims that a header of somebody's own invention can make, such as
`X-Msisdn` or `X-Acting-For`. So each header that begins with `X-` is an identity header, unless it
is listed as harmless.
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
WORDS = (
    *("acl", "behalf", "dn", "from", "gid", "grants", "iap", "ip", "iv", "oam", "operator", "org"),
    *("osso", "realm", "rights", "sm", "sso", "staff", "sub", "sudo", "uid"),
)
"""A header is an identity header if one of these is a word of its name."""
HARMLESS = (
    *("authorization", "sec-fetch-user", "service-worker", "service-worker-navigation-preload"),
    *("traceparent", "tracestate", "user-agent"),
)
"""Headers that match and are the application's, as are cookies: it verifies the credentials in
`Authorization` itself, unless the guard does.
"""
HARMLESS_X = (
    *("x-amz-content-sha256", "x-amz-date", "x-amzn-trace-id", "x-api-key", "x-api-version"),
    *("x-b3-flags", "x-b3-parentspanid", "x-b3-sampled", "x-b3-spanid", "x-b3-traceid"),
    *("x-cloud-trace-context", "x-content-type-options", "x-correlation-id", "x-csrf-token"),
    *("x-csrftoken", "x-datadog-parent-id", "x-datadog-sampling-priority", "x-datadog-trace-id"),
    *("x-event-key", "x-github-event", "x-gitlab-event", "x-grpc-web", "x-idempotency-key"),
    *("x-request-id", "x-request-start", "x-requested-with", "x-shopify-topic", "x-trace-id"),
    *("x-xsrf-token",),
)
"""Headers with `X-` that are the application's: IDs and samples of traces and requests, credentials
that the application verifies (API keys, tokens against request forgery, signed requests of AWS),
conventions of APIs, and the event headers that Troth's webhook gateway forwards. None of them says
for whom a request is made, what it may do, or which method, path or origin it has: a proxy has
decided about those, so `X-HTTP-Method-Override` is not one of them.
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
_HARMLESS = frozenset(name.encode() for name in (*HARMLESS, *HARMLESS_X))
_X = b"x-"


def spelled(name: bytes) -> bytes:
    """Return a name in lower case, with one dash between its words.

    Servers, gateways and frameworks treat `_` and `-` alike, and some do so with other characters.
    """
    return _SEPARATORS.sub(b"-", name.lower()).strip(b"-")


def claims_identity(name: bytes) -> bool:
    """Return whether a header, with its name as by `spelled`, is an identity header."""
    if name in _HARMLESS:
        return False
    return name.startswith(_X) or _IDENTITY.search(name) is not None
