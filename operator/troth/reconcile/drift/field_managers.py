"""Field managers of an object: which clients wrote it."""

from collections.abc import Iterator
from typing import Any

from troth.world.facts.objects import FIELD_MANAGER, Manifest

LONGEST = 128
"""Maximum length of a name, as the API server allows it."""


def latest_writers(manifest: Manifest, subresource: str = "") -> set[str]:
    """Return the names of the other field managers that wrote an object last.

    They are those in `metadata.managedFields` whose time is not before that of Troth's own last
    write; the times are whole seconds. Only entries of the subresource count, "" for the object
    itself. Names that cannot be printed are left out.
    https://kubernetes.io/docs/reference/using-api/server-side-apply/#managed-fields
    """
    entries = list(_entries(manifest, subresource))
    own = max((time for name, time in entries if name == FIELD_MANAGER), default="")
    others = [(name, time) for name, time in entries if name != FIELD_MANAGER and time >= own]
    last = max((time for _, time in others), default="")
    return {name for name, time in others if time == last}


def _entries(manifest: Manifest, subresource: str) -> Iterator[tuple[str, str]]:
    """Yield the name and the time of each readable entry."""
    listed: Any = manifest["metadata"].get("managedFields")
    for entry in listed if isinstance(listed, list) else ():
        if not isinstance(entry, dict) or (entry.get("subresource") or "") != subresource:
            continue
        name, time = entry.get("manager"), entry.get("time")
        if isinstance(name, str) and isinstance(time, str) and name.isprintable():
            yield name[:LONGEST], time
