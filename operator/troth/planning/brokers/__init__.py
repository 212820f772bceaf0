"""Plan of a `MessageBroker`: its changes, credentials, finalizer and status."""
