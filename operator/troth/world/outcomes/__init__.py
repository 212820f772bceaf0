"""Outcomes of I/O, which the world observes; see `World.observe_outcome`."""
