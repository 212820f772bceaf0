"""The topics that a Kafka administrator creates."""

from collections.abc import Iterable

from confluent_kafka.admin import AdminClient, NewTopic

from sandbox.brokers.kafka import KafkaServer

SECONDS = 30.0


def make_topics(server: KafkaServer, names: Iterable[str]) -> None:
    """Create topics of one partition each; raises `confluent_kafka.KafkaException`."""
    admin = AdminClient(
        {
            "bootstrap.servers": server.admin_address,
            "security.protocol": "ssl",
            "ssl.ca.location": str(server.authority.certificate),
            "ssl.certificate.location": str(server.administrator.certificate),
            "ssl.key.location": str(server.administrator.key),
            "log_level": 0,
        }
    )
    for made in admin.create_topics([NewTopic(name, 1, 1) for name in names]).values():
        made.result(SECONDS)
