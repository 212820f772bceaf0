"""The certificates that a client presented on a server's TLS connection."""

import ssl
from typing import Any

_DER = 2  # OpenSSL's number of the DER encoding, as in the internals of the ssl module


def presented_chain(connection: ssl.SSLObject | ssl.SSLSocket | None) -> tuple[str, ...]:
    """Return the certificates in PEM, leaf first; empty without TLS or without certificates.

    Before Python 3.13, the chain has no public name. If it is not found, only the leaf is returned,
    which is enough for leaves that a root issued directly.
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
