"""The trust bundle for events, which consumers read beside the live bundle."""

FILE = "events-bundle-map.json"
"""Name in the ConfigMap of a trust bundle. Its format is that of `bundle-map.json`. Roots and token
keys that were retired within the longest `maxAge` stay in it, because messages outlive them.
"""
TOLERANCE = 300.0
"""Seconds by which the clocks of producers, consumers and brokers may differ."""
