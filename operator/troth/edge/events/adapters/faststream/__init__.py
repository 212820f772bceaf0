"""Sealed events with FastStream (extra `events-faststream`), for its Kafka and NATS brokers.

```python
from troth.edge.events.adapters.faststream.events import VerifiedEvent
from troth.edge.events.adapters.faststream.kafka import EventMiddleware

guard = EventMiddleware(identity, configuration, consumes="shop/orders", duplicates=duplicates)
broker = KafkaBroker(..., middlewares=[guard])


@broker.subscriber("orders", group_id="prod.fulfilment", ack_policy=AckPolicy.MANUAL)
async def place(order: Order, event: VerifiedEvent) -> None: ...
```

The middleware verifies a message before FastStream parses it, so no parser, decoder or filter can
avoid it. It acknowledges a message after the handler and its publishers have succeeded, or after
the broker acknowledged the dead letter.
"""
