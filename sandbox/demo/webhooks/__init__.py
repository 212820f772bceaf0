"""Webhooks: the gateway, its senders and its target."""
