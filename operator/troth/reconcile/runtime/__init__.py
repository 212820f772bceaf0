"""What all parts of the reconciler use: clock, lease fence, metrics and spans."""
