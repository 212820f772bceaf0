"""Documents for verifiers and callers: OpenID Connect Discovery 1.0 and RFC 8414."""

import json

from troth.documents.token_grants import TokenGrants
from troth.issuer.token_request import CLIENT_CREDENTIALS, TOKEN_EXCHANGE
from troth.pki.tokens.signing import ALGORITHM

TOKENS, KEYS, SPIFFE_BUNDLE = "/token", "/keys", "/bundle"


def metadata(granted: TokenGrants) -> bytes:
    """Return the metadata of an issuer as JSON, for both well-known paths.

    OpenID Connect requires some members although the issuer has no users and no pages; their values
    say so.
    """
    issuer = granted.issuer.rstrip("/")
    return json.dumps(
        {
            "issuer": granted.issuer,
            "token_endpoint": f"{issuer}{TOKENS}",
            "jwks_uri": f"{issuer}{KEYS}",
            "spiffe_bundle_endpoint": f"{issuer}{SPIFFE_BUNDLE}",
            "grant_types_supported": [CLIENT_CREDENTIALS, TOKEN_EXCHANGE],
            "token_endpoint_auth_methods_supported": ["tls_client_auth", "none"],
            "tls_client_certificate_bound_access_tokens": True,
            "response_types_supported": [],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": [ALGORITHM],
        }
    ).encode()
