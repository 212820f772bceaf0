"""Troth gives each vector the verdict that docs/events.md specifies."""

import pytest

from tests.edge.events.vectors import attributes, committed, octets, verdict, verdicts
from troth.edge.events.event import Event
from troth.edge.events.rejection import Reason, Rejection

DOCUMENT = committed()
VECTORS = {each["name"]: each for each in DOCUMENT["vectors"]}
NOT_SHOWN = {"specversion", "dataschema", "trothbroker", "trothenvironment", "authtype"}
ELSEWHERE = {
    Reason.DUPLICATE,
    Reason.HANDLER_FAILED,
    Reason.REDRIVE_INVALID,
    Reason.NOT_ADDRESSED,
}
"""Reasons that are not about the form of an event."""


@pytest.fixture(scope="module")
def opened() -> dict[str, Event | Rejection]:
    return dict(verdicts(DOCUMENT))


@pytest.mark.parametrize("name", VECTORS)
def test_vector_has_its_verdict(opened: dict[str, Event | Rejection], name: str) -> None:
    found = opened[name]
    assert verdict(found) == VECTORS[name]["verdict"], found
    if isinstance(found, Event):
        expected = VECTORS[name]["event"]
        assert attributes(found) == {k: v for k, v in expected.items() if k not in NOT_SHOWN}
        assert found.data == octets(VECTORS[name]["data"])


def test_every_reason_has_a_vector() -> None:
    assert {each["verdict"] for each in VECTORS.values()} == {
        "Accepted",
        *(set(Reason) - ELSEWHERE),
    }


def test_every_vector_names_its_rule() -> None:
    assert all(each["rule"] and each["name"] for each in VECTORS.values())
    assert len(VECTORS) == len(DOCUMENT["vectors"])
