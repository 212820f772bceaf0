"""Events: sealed messages, and the consumer that rejects all others."""
