"""What brokers show of themselves, as rules read it."""
