"""The topics that a Kafka administrator creates."""

from collections.abc import Iterable, Mapping

from confluent_kafka.admin import AdminClient, NewTopic

from sandbox.brokers.kafka import KafkaServer

SECONDS = 30.0


def make_topics(
    server: KafkaServer, names: Iterable[str], configuration: Mapping[str, str] | None = None
) -> None:
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
    topics = [NewTopic(name, 1, 1, config=dict(configuration or {})) for name in names]
    for made in admin.create_topics(topics).values():
        made.result(SECONDS)
