"""Signature base of HTTP message signatures (RFC 9421, section 2) for requests.

The components of the target come from the configured URL, with only the query from the request:
proxies can change host and path. Every other component is a header that must occur exactly once.
"""

import re

from troth.webhooks.schemes.delivery import Delivery, Reason, RefusedError
from troth.webhooks.schemes.fields.addresses import Address, query_of

METHOD = "@method"
TARGET_URI = "@target-uri"
REQUEST_TARGET = "@request-target"
AUTHORITY = "@authority"
SCHEME = "@scheme"
PATH = "@path"
QUERY = "@query"

_FIELD_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")  # RFC 9110, section 5.6.2, in lower case


def is_component(name: str) -> bool:
    """Return whether a component is supported."""
    return name in _DERIVED or _FIELD_NAME.fullmatch(name) is not None


def signature_base(
    delivery: Delivery, address: Address, covered: tuple[str, ...], parameters: str
) -> bytes:
    """Return the signature base; raises `RefusedError` for a component that the request lacks."""
    lines = [f'"{name}": {_value(delivery, address, name)}' for name in covered]
    return "\n".join((*lines, f'"@signature-params": {parameters}')).encode()


def names_target(covered: frozenset[str], *, with_query: bool) -> bool:
    """Return whether the components identify the whole target of a request.

    These are `@target-uri`, or `@authority` with the path and, if the request has one, the query.
    """
    if TARGET_URI in covered:
        return True
    where = PATH in covered and (QUERY in covered or not with_query)
    return AUTHORITY in covered and (where or REQUEST_TARGET in covered)


def _value(delivery: Delivery, address: Address, name: str) -> str:
    query = query_of(delivery)
    path = address.path or "/"
    match name:
        case "@method":
            return delivery.method
        case "@target-uri":
            return f"{address.scheme}://{address.authority}{path}{query}"
        case "@request-target":
            return path + query
        case "@authority":
            return address.authority
        case "@scheme":
            return address.scheme
        case "@path":
            return path
        case "@query":
            return query or "?"
    if _FIELD_NAME.fullmatch(name) is None:
        raise RefusedError(
            Reason.SIGNATURE_MALFORMED,
            "the signature covers a component that a request does not have",
        )
    return delivery.header(name.encode(), Reason.NOT_COVERED).strip(" ")


_DERIVED = frozenset({METHOD, TARGET_URI, REQUEST_TARGET, AUTHORITY, SCHEME, PATH, QUERY})
