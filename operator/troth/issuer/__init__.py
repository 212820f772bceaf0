"""The token issuer: parses requests, grants tokens, and answers over HTTP.

`configuration`, `forms`, `token_request` and `grants` make the decisions and do no I/O.
`secret_watch` and `token_review` use the API server, `endpoint` answers callers, and `serving` is
the server.
"""
