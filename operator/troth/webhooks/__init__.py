"""Webhooks: signature schemes, and the gateway, which accepts only verified deliveries.

A gateway knows of the cluster only its own configuration, and a scheme knows nothing of a gateway.
"""
