"""A copy of a manifest with one value changed or one field removed."""

import copy
from typing import Any

from tests.builders import Manifest

GONE = object()


def changed(manifest: Manifest, path: str, value: Any) -> Manifest:
    """Return the manifest with another value at a path such as `spec.calls.0.to`, or without it."""
    result = copy.deepcopy(manifest)
    holder: Any = result
    *way, last = path.split(".")
    for step in way:
        holder = holder[int(step)] if isinstance(holder, list) else holder.setdefault(step, {})
    if value is GONE:
        del holder[last]
    elif isinstance(holder, list):
        holder[int(last)] = value
    else:
        holder[last] = value
    return result
