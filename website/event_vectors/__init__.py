"""Test vectors for the form of an event (docs/events.md, section Format).

Everything is derived from names: keys, serial numbers, nonces and salts. So the file is always the
same, and a check compares its bytes. Nothing here uses `troth.edge.events`, which the vectors test.
"""
