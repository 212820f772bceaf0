"""What came of I/O, as the world observes it; see `World.observe_outcome`."""
