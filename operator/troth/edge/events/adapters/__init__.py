"""Adapters: consumers and producers of sealed events for the libraries of brokers.

Each needs the library of its name: see the extras `events-kafka` (confluent-kafka),
`events-aiokafka`, `events-nats` and `events-faststream`.
"""
