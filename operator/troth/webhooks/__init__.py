"""Webhooks: signature schemes, and the gateway that lets through only what is verified.

Beside the operator and not part of it: a gateway knows nothing of the cluster but its own
configuration, and a scheme knows nothing of a gateway.
"""
