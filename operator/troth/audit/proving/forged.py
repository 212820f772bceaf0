"""Forged identity headers: what a client without the right sends to be taken for another."""

from hashlib import sha256

_ROLE = "admin"


def forged_headers(claimed: str) -> dict[str, str]:
    """Return headers that claim a SPIFFE ID and rights, in the forms that proxies use.

    They are among those of docs/reference/identity-headers.md.
    """
    thumbprint = sha256(claimed.encode()).hexdigest()
    return {
        "X-Forwarded-Client-Cert": f"Hash={thumbprint};URI={claimed}",
        "X-SPIFFE-ID": claimed,
        "X-Forwarded-User": claimed,
        "X-Auth-Request-User": claimed,
        "X-Authenticated-User": claimed,
        "X-Remote-User": claimed,
        "X-Roles": _ROLE,
        "X-Auth-Request-Groups": _ROLE,
        "X-Scopes": _ROLE,
        "X-Jwt-Payload": "e30",
    }
