"""Dead-letter topics of Kafka, with confluent-kafka (extra `kafka`).

librdkafka blocks, so each client has a thread of its own, and no call blocks the event loop.
"""
