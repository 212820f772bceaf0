"""Events about reviews fit into the limits of the API server."""

from typing import Any, cast

import pytest

from tests.builders import Manifest
from tests.review.stage import review
from troth.cluster.api import ApiServer
from troth.review.objects.events import Recorder


class Server:
    """The Events that were created."""

    def __init__(self) -> None:
        self.created: list[Manifest] = []

    async def create(self, manifest: Manifest) -> Manifest:
        self.created.append(manifest)
        return manifest


async def posted(note: str, *options: Any) -> Manifest:
    server = Server()
    await Recorder(cast("ApiServer", server), "test").post(review(), "Withdrawn", note, *options)
    (made,) = server.created
    return made


@pytest.mark.parametrize("letter", ["a", "\u00e9", "\u8a9e"])
async def test_note_has_at_most_1024_bytes(letter: str) -> None:
    note = (await posted(letter * 2000))["note"]
    assert 1020 < len(note.encode()) <= 1024
    assert set(note) == {letter}


async def test_event_has_the_type_that_was_asked_for() -> None:
    assert (await posted("done"))["type"] == "Normal"
    assert (await posted("refused", "Warning"))["type"] == "Warning"
