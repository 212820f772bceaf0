"""Deliveries that an identity's Secret lets a webhook target accept, and their keys.

Reading is lenient: an invalid entry counts as not listed.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from functools import lru_cache

from troth.documents.identity.reading import Members, parsed
from troth.resources.references import Ref
from troth.resources.schema.bounded_json import objects_in, read_json

_CACHED = 256
_OF_ENDPOINT = ("name", "path", "workflow")


@dataclass(frozen=True, slots=True, order=True)
class ListedDelivery:
    """Delivery as `identity.json` lists it.

    `gateway` is a SPIFFE ID, `endpoint` a namespace and a name.
    """

    gateway: str
    port: str
    endpoint: str
    path: str
    workflow: str

    def fingerprint(self, target: Ref) -> str:
        """Return the fingerprint of this delivery for a target, 16 digits."""
        text = "\n".join((str(target), *astuple(self)))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def listed_in(document: Members) -> Iterator[ListedDelivery]:
    """Yield the deliveries that an `identity.json` lists, in order."""
    for entry in objects_in(document.get("webhooks")):
        for each in objects_in(entry.get("endpoints")):
            found = entry.get("gateway"), entry.get("port"), *map(each.get, _OF_ENDPOINT)
            parts = [part for part in found if isinstance(part, str)]
            if len(parts) == len(found):
                yield ListedDelivery(*parts)


@lru_cache(maxsize=_CACHED)
def deliveries_in(text: str) -> frozenset[ListedDelivery]:
    """Return the deliveries in the text of an `identity.json`, none if it is unreadable."""
    return frozenset(listed_in(parsed(text)))


@lru_cache(maxsize=_CACHED)
def key_ids_in(key_set: str) -> frozenset[str]:
    """Return the key IDs in a JWKS, none if it is unreadable."""
    try:
        return frozenset(each["kid"] for each in read_json(key_set)["keys"])
    except (ValueError, KeyError, TypeError):
        return frozenset()
