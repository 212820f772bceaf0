"""Dead-letter topics of NATS, each in a JetStream stream, with nats-py (extra `nats`)."""
