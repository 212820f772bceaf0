"""Attacks that each judge accepts and Troth rejects, with the reasons.

Few are faults: a library leaves to its user what it cannot know. Troth's own checks cover that, and
a service that verifies tokens without Troth must add them.
"""

ANY_TYPE = {
    "typ is 'txntoken+jwt'",
    "typ is 'at+jwt'",
    "typ is 'jwt'",
    "typ is 'JOSE'",
    "typ is 'application/jwt'",
    "typ is absent",
    "txn, typ is absent",
    "txn, typ is 'JWT'",
}
"""A service must check `typ` itself, or it accepts one kind of token as the other."""

UNREAD_MEMBERS = {
    "header has jwk, signed by the own key",
    "header has jku, signed by the own key",
    "header has x5u, signed by the own key",
    "header has cty, signed by the own key",
    "txn, header has jwk",
}
"""References to another key, which no judge follows: all reject them with a thief's signature."""

MORE_UNREAD_MEMBERS = {
    "header has x5c, signed by the own key",
    "header has zip, signed by the own key",
}

TWICE = {
    "header has alg twice",
    "sub is there twice",
    "sub is there twice, once escaped",
    "aud is there twice",
    "txn, sub is there twice",
}
"""The last of two members counts, as RFC 7519 section 4 allows; other readers use the first."""

OTHER_UNICODE = {"claims in UTF-16", "claims with a byte order mark"}
"""Python's `json.loads` guesses the encoding."""

SIZES = {"claims 12 deep", "9 KiB of scopes"}

SPELLINGS = {
    "signature with a spare bit set",
    "a line break at the end",
    "a line break within the signature",
}
"""Several texts of one token, which bypass a replay check that compares texts."""

LIFETIMES = {"of an hour", "exp before iat", "txn, of an hour"}
"""The maximum lifetime of 15 minutes is Troth's rule, not JWT's."""

FRACTIONS = {"exp is a fraction", "iat is a fraction", "nbf is a fraction"}
"""RFC 7519 section 2 allows them."""

AUDIENCES = {"aud is two, one of them ours", "aud is ours twice"}
"""RFC 7519 section 4.1.3 requires only one of them: the other audience could use the token here."""

TRANSACTION_AUDIENCES = {"txn, aud is an array", "txn, aud is two, one of them ours"}

SUBJECTS = {
    "sub is a URL",
    "sub is the trust domain's own ID",
    "sub is an ID with dots",
    "sub is an ID with a query",
    "sub is an ID in capitals",
}
"""A library without SPIFFE support accepts any text as the subject."""

CONTENTS = {
    "client_id is another's",
    "scope is an array",
    "scope is with two spaces",
    "txn, txn is a word",
    "txn, sub has a line break",
    "txn, req_wl is of the partner",
    "txn, tctx has an object",
}
"""Claims whose content no library checks."""

EVERYWHERE = (
    UNREAD_MEMBERS | SIZES | LIFETIMES | FRACTIONS | AUDIENCES | TRANSACTION_AUDIENCES | CONTENTS
)
PYTHONS = EVERYWHERE | ANY_TYPE | TWICE | OTHER_UNICODE | SUBJECTS | {"exp is of 400 digits"}

LAXER = {
    # It checks what the JWT-SVID specification requires, which has no issuers, no scopes and no
    # time of issue. The rest is Go's base64, which skips line breaks, and Go's JSON.
    "go-spiffe": EVERYWHERE
    | MORE_UNREAD_MEMBERS
    | SPELLINGS
    | {
        "typ is 'JOSE'",
        "typ is absent",
        "claims that are not UTF-8",
        "claims 2,000 deep",
        "iat is absent",
        "nbf is absent",
        "iss is a thief's",
        "iss is the partner's",
        "iss is absent",
        "iss is with a slash more",
        "sub is the trust domain's own ID",
        "client_id is absent",
        "jti is absent",
        "scope is absent",
        "txn, scope is absent",
        "txn, tctx is absent",
    },
    # Its base64 skips characters of no alphabet, and accepts both alphabets. A required claim may
    # be null, so a token with "exp": null never expires. It does not check iat, and without a kid
    # it accepts any key of the bundle.
    "Nimbus": EVERYWHERE
    | MORE_UNREAD_MEMBERS
    | SPELLINGS
    | SUBJECTS
    | {
        "typ is 'jwt'",
        "kid is absent",
        "signature padded",
        "signature in the other base64 alphabet",
        "a space before",
        "claims padded, and signed so",
        "claims that are not UTF-8",
        "claims with a byte order mark",
        "iat 5 min ahead",
        "txn, a clock 5 min ahead",
        "exp is null",
        "sub is an ID with a port",
        "cnf is a method more",
    },
    "openssl": set(),
    # It accepts as a time what Python's `int` accepts as a number, and reads a JWS with padding.
    "PyJWT": PYTHONS
    | MORE_UNREAD_MEMBERS
    | {
        "typ is ['JWT']",
        "signature padded",
        "exp is a text",
        "iat is a text",
        "iat is true",
        "nbf is a text",
        "nbf is true",
    },
    # It rejects x5c only because the header is longer than 512 bytes.
    "joserfc": PYTHONS,
}
"""The attacks that a judge accepts, by the judge's name."""
