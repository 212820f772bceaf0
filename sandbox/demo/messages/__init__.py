"""Messages: topics at a broker, NATS or Kafka."""
