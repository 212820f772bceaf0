"""Schemas in the document and in the files of a ConfigMap, by the digest of their text."""

import logging
from pathlib import Path
from typing import Any

import pytest

from tests.edge.identity.test_files import Clock
from tests.edge.mounts import CHECKOUT, Mounts, accepted, in_file, json_schema, orders
from troth.edge.identity.files import Identity

INLINE, FILED, OTHER = (json_schema(text) for text in ("true", '{"type":"object"}', "{}"))
FILE = in_file(FILED)["file"]


@pytest.fixture
def mounts(tmp_path: Path) -> Mounts:
    made = Mounts(tmp_path)
    write(made, INLINE, in_file(FILED))
    return made


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def identity(mounts: Mounts, clock: Clock) -> Identity:
    places = mounts.identity.path, mounts.bundle.path
    return Identity(*places, schemas=mounts.schemas.path, clock=clock)


def write(mounts: Mounts, *schemas: dict[str, str], **changed: Any) -> None:
    mounts.write(messages=[orders(schemas=list(schemas))], **changed)


def texts(*schemas: dict[str, str]) -> dict[str, str]:
    return {each["digest"]: each["text"] for each in schemas}


def test_schemas_of_the_document_and_of_files_are_read(mounts: Mounts, identity: Identity) -> None:
    mounts.schemas.write({FILE: FILED["text"].encode(), "index.json": b"{}"})
    assert identity.current.schemas == texts(INLINE, FILED)
    assert FILED["text"] not in repr(identity.current)


def test_schema_whose_file_is_missing_is_unavailable_until_it_comes(
    mounts: Mounts, identity: Identity, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert identity.current.schemas == texts(INLINE)
            clock.later()
    (record,) = caplog.records
    assert FILE in record.getMessage()
    assert "consumers wait with theirs" in record.getMessage()
    mounts.schemas.write({FILE: FILED["text"].encode()})
    clock.later()
    assert identity.current.schemas == texts(INLINE, FILED)


@pytest.mark.parametrize(
    "content",
    [b"", b'{"type":"string"}', b'{"type":"object"}\n', b"\xff\xfe", b" " * 2_000_000],
    ids=["empty", "another schema", "a line more", "no UTF-8", "too large"],
)
def test_file_with_another_digest_is_unavailable(
    mounts: Mounts, identity: Identity, content: bytes
) -> None:
    mounts.schemas.write({FILE: content})
    assert identity.current.schemas == texts(INLINE)


def test_folder_in_the_place_of_a_file_is_unavailable(mounts: Mounts, identity: Identity) -> None:
    (mounts.schemas.path / FILE).mkdir()
    assert identity.current.schemas == texts(INLINE)


def test_revocation_does_not_wait_for_the_file_of_a_schema(
    mounts: Mounts, identity: Identity, clock: Clock
) -> None:
    write(mounts, INLINE, accepts=[accepted(CHECKOUT)])
    assert identity.current.document.callers
    write(mounts, INLINE, in_file(FILED), accepts=[])
    clock.later()
    assert not identity.current.document.callers
    assert identity.current.schemas == texts(INLINE)


def test_known_schema_outlives_its_file_while_the_document_names_it(
    mounts: Mounts, identity: Identity, clock: Clock
) -> None:
    """The mounts of a ConfigMap and of a Secret show their changes at different times."""
    mounts.schemas.write({FILE: FILED["text"].encode()})
    _ = identity.current
    mounts.schemas.write({in_file(OTHER)["file"]: OTHER["text"].encode()})
    (mounts.schemas.path / FILE).unlink()
    clock.later()
    assert identity.current.schemas == texts(INLINE, FILED)
    write(mounts, in_file(OTHER))
    clock.later()
    assert identity.current.schemas == texts(OTHER)


def test_schema_that_moves_to_a_file_is_never_unavailable(
    mounts: Mounts, identity: Identity, clock: Clock
) -> None:
    write(mounts, INLINE, FILED)
    assert identity.current.schemas == texts(INLINE, FILED)
    write(mounts, in_file(INLINE), in_file(FILED))
    clock.later()
    assert identity.current.schemas == texts(INLINE, FILED)


def test_unchanged_files_of_schemas_give_the_same_object(
    mounts: Mounts, identity: Identity, clock: Clock
) -> None:
    mounts.schemas.write({FILE: FILED["text"].encode()})
    first = identity.current
    clock.later()
    assert identity.current is first
    mounts.schemas.write({FILE: FILED["text"].encode()})
    clock.later()
    assert identity.current is first
