"""One handler for each watched kind: updates the world and returns the affected keys."""
