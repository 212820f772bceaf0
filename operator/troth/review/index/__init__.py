"""Index of dead letters on local disk: a cache, rebuilt from the dead-letter topics at any time."""
