"""Replay protection for webhooks and events: the store, in memory or in Valkey."""
