"""Time of the last write of a Secret."""

from datetime import UTC, datetime

from tests.builders import Manifest
from troth.world.observation.broker_secrets import written_at


def made(*writes: tuple[str, str]) -> Manifest:
    """A Secret of which each part was last written at a time."""
    fields = [{"time": time, "fieldsV1": {part: {}}} for part, time in writes]
    return {"metadata": {"creationTimestamp": "2026-01-01T00:00:00Z", "managedFields": fields}}


def test_written_at_is_the_last_write_of_the_data() -> None:
    secret = made(("f:data", "2026-03-01T00:00:00Z"), ("f:data", "2026-02-01T00:00:00Z"))
    assert written_at(secret) == datetime(2026, 3, 1, tzinfo=UTC)


def test_new_label_does_not_change_written_at() -> None:
    secret = made(("f:metadata", "2026-03-01T00:00:00Z"))
    assert written_at(secret) == datetime(2026, 1, 1, tzinfo=UTC)


def test_secret_without_managed_fields_counts_as_oldest() -> None:
    assert written_at({"metadata": {}}) < datetime(2000, 1, 1, tzinfo=UTC)
