"""Benchmarks of Kafka and NATS."""
