"""What services import: who calls, verified; and calls made with one's own identity.

A service mounts two things, its identity's Secret and the trust bundle; everything here goes by
those files and follows them when they change, without a restart. Nothing is fetched to judge a
request, and no header is believed that somebody could have written.

On the way in: `asgi` and `wsgi` are middleware, `uvicorn` and `gunicorn` bring the peer's
certificate from TLS to them, `starlette`, `flask` and `django` ask for scopes, and `caller.Caller`
is what a handler gets. On the way out: `httpx`, `aiohttp` and `requests`. Each of those modules
needs the library it is named after and nothing else does. This package imports `troth.pki` and
`troth.resources` and no other part of Troth.
"""
