"""Spec and status of `WebhookEndpoint`."""
