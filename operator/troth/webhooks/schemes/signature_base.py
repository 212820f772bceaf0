"""What an HTTP message signature signs (RFC 9421 section 2), for a request.

What says where the request goes is of the endpoint's configured URL, and of the request the query
alone: what a proxy has made of host and path proves nothing. Every other component is a header that
is there once.
"""

import re

from troth.webhooks.schemes.addresses import Address, query_of
from troth.webhooks.schemes.delivery import Delivery, Reason, RefusedError

METHOD = "@method"
TARGET_URI = "@target-uri"
REQUEST_TARGET = "@request-target"
AUTHORITY = "@authority"
SCHEME = "@scheme"
PATH = "@path"
QUERY = "@query"

_FIELD_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")  # RFC 9110 section 5.6.2, in small letters


def is_component(name: str) -> bool:
    """Whether a component can be covered here."""
    return name in _DERIVED or _FIELD_NAME.fullmatch(name) is not None


def signature_base(
    delivery: Delivery, address: Address, covered: tuple[str, ...], parameters: str
) -> bytes:
    """Return what is signed; raises `RefusedError` for a component that the request has not."""
    lines = [f'"{name}": {_value(delivery, address, name)}' for name in covered]
    return "\n".join((*lines, f'"@signature-params": {parameters}')).encode()


def names_target(covered: frozenset[str], *, with_query: bool) -> bool:
    """Whether components say where a request goes, all of it.

    That is `@target-uri`, or `@authority` with the path and, if the request has one, the query.
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
