"""Time that a person waits for the `troth` command."""
