"""Library for services: verifies callers, and makes calls with the service's own identity.

A service mounts the Secret of its identity and the trust bundle. This package reads those files,
and follows their changes without a restart. It needs no network to verify a request, and trusts no
header that a client could have forged.

For inbound requests, `asgi` and `wsgi` are middleware, `uvicorn` and `gunicorn` pass the peer's
certificate from TLS to them, `starlette`, `flask` and `django` check scopes, and handlers get a
`caller.Caller`. For outbound requests, there are `httpx`, `aiohttp` and `requests`. Each of these
modules requires the library of its name, and no other module does. The package imports `troth.pki`,
`troth.resources`, `troth.documents` and `troth.replay`, and no other part of Troth.
"""
