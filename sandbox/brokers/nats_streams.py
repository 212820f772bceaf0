"""The streams and durable consumers that the owner of a NATS account creates."""

from collections.abc import Collection, Mapping

from nats.aio.client import Client, RawCredentials
from nats.js.api import AckPolicy

from sandbox.brokers.nats import NatsServer


async def make_streams(
    server: NatsServer, streams: Mapping[str, str], durables: Mapping[str, Collection[str]]
) -> None:
    """Create streams of one subject each, and durable consumers of all messages in a stream."""
    owner = Client()
    creds = RawCredentials(server.owner_creds())
    await owner.connect(server.url, tls=server.tls(), user_credentials=creds)
    try:
        jetstream = owner.jetstream()
        for stream, subject in streams.items():
            # the worker of reviews reads single messages directly
            await jetstream.add_stream(name=stream, subjects=[subject], allow_direct=True)
        for stream, names in durables.items():
            for name in names:
                await jetstream.add_consumer(
                    stream,
                    durable_name=name,
                    filter_subject=streams[stream],
                    ack_policy=AckPolicy.EXPLICIT,
                )
    finally:
        await owner.close()
