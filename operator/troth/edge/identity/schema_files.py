"""Files of the schemas that do not fit into `identity.json`."""

from collections.abc import Mapping
from pathlib import Path

from troth.resources.messaging.schemas.schema_text import digest_of

MOST_BYTES = 1_048_576
"""Maximum size of a file in bytes, that of a ConfigMap."""


def schema_texts(
    mount: Path, files: Mapping[str, str], known: Mapping[str, str]
) -> Mapping[str, str]:
    """Return the texts of schemas by digest, without those that cannot be read.

    `files` are the names of the files by digest. `known` are texts that are read already: a digest
    has one text only, so its file is not read again, and need not exist any more.
    """
    found = {
        digest: known.get(digest) or _read(mount / name, digest) for digest, name in files.items()
    }
    return {digest: text for digest, text in found.items() if text is not None}


def _read(path: Path, digest: str) -> str | None:
    """Return the text of a file, None if it is missing or has another digest."""
    try:
        with path.open("rb") as file:
            text = file.read(MOST_BYTES + 1).decode()
    except (OSError, UnicodeDecodeError):
        return None
    return text if digest_of(text) == digest else None
