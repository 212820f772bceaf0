"""A shop with a message broker, as files: what the command's tests list and plan."""

from pathlib import Path

import yaml

from tests.broker_builders import orders, publisher, subscriber
from tests.builders import Manifest, domain, namespace
from tests.messaging import broker


def market(*manifests: Manifest) -> list[Manifest]:
    """What a person writes of a broker, its producer and its consumer.

    What is given replaces what has its name.
    """
    everything = (
        namespace("shop", domain="production"),
        namespace("messaging", domain="production"),
        domain(),
        broker(),
        publisher(),
        subscriber(),
        orders(),
        *manifests,
    )
    named = {
        (each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"]): each
        for each in everything
    }
    return list(named.values())


def written(folder: Path, *manifests: Manifest) -> Path:
    """Write the market into a folder and return it."""
    (folder / "market.yaml").write_text(yaml.safe_dump_all(market(*manifests)))
    return folder
