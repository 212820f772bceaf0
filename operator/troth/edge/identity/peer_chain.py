"""A client's certificates as it presented them, from a server's TLS connection."""

import ssl
from typing import Any

_DER = 2  # OpenSSL's number for the encoding, as the ssl module's internals have it


def presented_chain(connection: ssl.SSLObject | ssl.SSLSocket | None) -> tuple[str, ...]:
    """The certificates, PEM each, leaf first; empty where the client presented none, or there is
    no TLS.

    Before Python 3.13 the chain is there, but not under a public name; where it is not found the
    leaf alone is returned, which is enough for whoever was issued by a root directly.
    """
    leaf = connection.getpeercert(binary_form=True) if connection is not None else None
    if leaf is None:
        return ()
    found = _chain(connection)
    chain = found if found[:1] == [leaf] else [leaf]
    return tuple(ssl.DER_cert_to_PEM_cert(each) for each in chain)


def _chain(connection: Any) -> list[bytes]:  # noqa: ANN401 - internals have no types
    public = getattr(connection, "get_unverified_chain", None)
    if public is not None:
        return list(public())
    internal = getattr(getattr(connection, "_sslobj", None), "get_unverified_chain", None)
    return [each.public_bytes(_DER) for each in internal() or ()] if internal else []
