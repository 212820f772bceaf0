"""Sealed events with aiokafka (extra `events-aiokafka`).

```python
from troth.edge.events.adapters.aiokafka import EventConsumer, EventProducer, client_options

def configuration() -> dict[str, Any]:
    return client_options("/var/run/broker")


async with EventProducer(identity, "shop/orders", configuration) as producer:
    await producer.produce(b'{"sku":"A-1","quantity":2}', type="shop.order.placed", key=b"A-1")

async with EventConsumer(identity, place, configuration, duplicates=duplicates) as consumer:
    await consumer.run()
```

Give each topic `message.timestamp.type=LogAppendTime`. Without it nobody but the producer says when
an event was published, so a stolen key whose certificate has expired can still seal events that
claim to be older, until they exceed the policy's `maxAge`.
"""

from troth.edge.events.adapters.aiokafka.configuration import certificate_options, client_options
from troth.edge.events.adapters.aiokafka.consumer import EventConsumer
from troth.edge.events.adapters.aiokafka.producer import EventProducer

__all__ = ["EventConsumer", "EventProducer", "certificate_options", "client_options"]
