"""The token issuer: who asks for what, what they may have, and the endpoint that answers.

`view`, `mandate`, `forms`, `asking` and `grants` decide and do no I/O. `following` and `reviewing`
speak to the API server, `endpoint` to callers, `serving` to the network.
"""
