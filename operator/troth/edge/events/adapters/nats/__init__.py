"""Sealed events with nats-py (extra `events-nats`), with JetStream and without.

```python
from troth.edge.events.adapters.nats import EventConsumer, EventProducer, connect

client = await connect("/var/run/broker", ["shop/orders"])
await EventProducer(identity, "shop/orders", client).publish(data, type="shop.order.placed")

async with EventConsumer(identity, place, client, duplicates=duplicates) as consumer:
    await consumer.run()
```

If the policy names a stream, a message is acknowledged after it was handled, or after a stream
acknowledged its dead letter, and the stream's timestamp bounds the time of an event.

Without a stream NATS delivers a message at most once. A message that is being consumed when the
process ends is lost. Nobody acknowledges a dead letter, so one that the server denies is lost too.
And nobody but the producer says when an event was published.
"""

from troth.edge.events.adapters.nats.connection import EventClient, connect
from troth.edge.events.adapters.nats.consumer import EventConsumer
from troth.edge.events.adapters.nats.producer import EventProducer

__all__ = ["EventClient", "EventConsumer", "EventProducer", "connect"]
