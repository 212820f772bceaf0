"""Sealed events with confluent-kafka (extra `events-kafka`).

```python
from troth.edge.events.adapters.confluent import EventConsumer, EventProducer, client_properties

def configuration() -> dict[str, Any]:
    return client_properties("/var/run/broker")


producer = EventProducer(identity, "shop/orders", configuration)
producer.produce(b'{"sku":"A-1","quantity":2}', type="shop.order.placed", key="A-1")
producer.flush()

with EventConsumer(identity, place, configuration, duplicates=duplicates) as consumer:
    consumer.run()
```

Give each topic `message.timestamp.type=LogAppendTime`. Without it nobody but the producer says when
an event was published, so a stolen key whose certificate has expired can still seal events that
claim to be older, until they exceed the policy's `maxAge`.
"""

from troth.edge.events.adapters.confluent.consumer import EventConsumer
from troth.edge.events.adapters.confluent.producer import EventProducer
from troth.edge.events.adapters.kafka_files import (
    certificate_properties,
    client_properties,
)

__all__ = ["EventConsumer", "EventProducer", "certificate_properties", "client_properties"]
