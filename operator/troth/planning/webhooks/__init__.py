"""The plan of a `WebhookEndpoint`: its keys, the gateway's document, and its status."""
