"""Rules about exceptions from what Troth enforces, and how long they stand."""
