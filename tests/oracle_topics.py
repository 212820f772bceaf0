"""Topics, places and references in manifests of brokers and policies, for the oracle of operations.

It shares no code with `troth`.
"""

from collections.abc import Iterator
from typing import Any

Manifest = dict[str, Any]
Place = tuple[str, str]


def channel_of(declared: Manifest) -> Manifest:
    """The dead-letter topic or a retry topic, written like a policy's topic."""
    stream = {"stream": declared["stream"]} if "stream" in declared else {}
    return {"name": declared["topic"], **stream}


def is_channel(channel: Manifest, topic: str, stream: str) -> bool:
    """Whether a topic and the stream in which it is are those of a channel."""
    return is_about(channel, topic) and stream == channel.get("stream", "")


def share_topics(one: Manifest, other: Manifest) -> bool:
    return bool(servers_of(one) & servers_of(other)) and part_of(one) == part_of(other)


def servers_of(broker: Manifest) -> set[tuple[str, str, str]]:
    """Places where a broker's principals exist; for NATS, within one account."""
    for type_ in ("kafka", "rabbitmq", "nats", "mqtt", "valkey"):
        if type_ in broker:
            given = broker[type_]
            servers = given.get("bootstrapServers") or given["servers"]
            return {(type_, server, given.get("account", "")) for server in servers}
    raise AssertionError


def part_of(broker: Manifest) -> str:
    return str(broker.get("rabbitmq", {}).get("virtualHost", "/"))


def means(reference: Manifest, here: str) -> Place:
    """Return the place that a reference means."""
    return reference.get("namespace", here), reference["name"]


def named_in(entries: list[Manifest], here: str) -> set[Place]:
    return {means(entry["identity"], here) for entry in entries}


def is_about(topic: Manifest, name: str) -> bool:
    return topic.get("name") == name or ("prefix" in topic and name.startswith(topic["prefix"]))


def have_common(first: Manifest, second: Manifest) -> bool:
    """Whether some topic matches both."""
    return any(is_about(first, name) and is_about(second, name) for name in _some_of(first, second))


def _some_of(*topics: Manifest) -> Iterator[str]:
    for topic in topics:
        yield from (
            [topic["name"]] if "name" in topic else [topic["prefix"], topic["prefix"] + "x"]
        )
