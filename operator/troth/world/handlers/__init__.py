"""One handler for each watched kind: updates the world, returns the affected keys."""
