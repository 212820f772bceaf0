"""Random UUIDs are those of RFC 9562."""

from uuid import RFC_4122, UUID

from troth.pki.encodings.random_uuid import random_uuid


def test_uuid_is_random_and_of_version_4() -> None:
    made = {random_uuid() for _ in range(200)}
    assert len(made) == 200
    for text in made:
        read = UUID(text)
        assert (str(read), read.version, read.variant) == (text, 4, RFC_4122)
