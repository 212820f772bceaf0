"""Replay protection: the store, in memory or in Valkey."""
