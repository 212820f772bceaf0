"""TLS handshakes in memory, by Python's `ssl`, which is OpenSSL."""

import ssl


def handshake(
    server: ssl.SSLContext, client: ssl.SSLContext, name: str | None = None
) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """Return the server's and the client's end after their handshake.

    `name` is the host name that the client asks for. Raises `ssl.SSLCertVerificationError` if one
    rejects the other's certificate.
    """
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    asking = client.wrap_bio(to_client, to_server, server_hostname=name)
    answering = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for end in (asking, answering):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return answering, asking
