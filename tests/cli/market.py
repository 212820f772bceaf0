"""A shop with a message broker, as files for the command's tests."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml

from tests.broker_builders import orders, publisher, subscriber
from tests.builders import Manifest, domain, namespace
from tests.messaging import broker

EXAMPLES = Path(__file__).parents[2] / "examples"


def market(*manifests: Manifest) -> list[Manifest]:
    """Return the manifests of a broker, its producer and its consumer.

    A given manifest replaces the one of its name.
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


def later(span: timedelta) -> datetime:
    """Return a time from now, because a command reads the clock."""
    return datetime.now(UTC) + span
