"""`WebhookEndpoint`: its spec and its status."""
