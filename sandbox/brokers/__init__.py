"""Real message brokers on one machine, for the demo, the tests and the benchmarks."""
