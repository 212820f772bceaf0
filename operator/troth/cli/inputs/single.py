"""Reads one file or standard input, and reports a fault of one part of a command's input."""

import sys
from pathlib import Path

from troth.resources.faults import FaultyManifests, ManifestFault


def fault(place: str, sentence: str) -> FaultyManifests:
    """Return an error about one part of the input."""
    return FaultyManifests([ManifestFault(place, "", "", sentence)])


def read_file(path: Path, most: int, place: str = "") -> bytes:
    """Read a file; raises `FaultyManifests`, also if it has more than `most` bytes.

    Errors name the file by `place`, if given.
    """
    place = place or str(path)
    try:
        with path.open("rb") as file:
            text = file.read(most + 1)
    except (OSError, ValueError) as error:
        sentence = getattr(error, "strerror", None) or "cannot be read"
        raise fault(place, sentence) from None
    if len(text) > most:
        raise fault(place, f"larger than {most} bytes")
    return text


def read_given(given: str, most: int, noun: str) -> bytes:
    """Read the file with a name, or standard input for `-`; raises `FaultyManifests`.

    `noun` is what the user pastes if standard input is a terminal.
    """
    if given not in ("", "-"):
        return read_file(Path(given.removeprefix("@")), most)
    if sys.stdin.isatty():
        sys.stderr.write(f"paste the {noun}, then press Ctrl-D on a line of its own\n")
    text = sys.stdin.buffer.read(most + 1)
    if len(text) > most:
        raise fault("standard input", f"larger than {most} bytes")
    return text
