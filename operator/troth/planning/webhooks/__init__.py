"""Plan of a `WebhookEndpoint`: its keys, the gateway's configuration, and its status."""
