"""Shards: which keys one replica plans and writes, if several replicas act at once.

A shard is a function of the key alone, so that all replicas agree on it whatever each has observed.
The outcome of a write or of work at a broker is known to one process. So a key whose plan reads
the outcome of another key is in that key's shard, or the outcome is carried by a status that every
replica observes; tests/world/test_shards.py lists both.
"""

from functools import lru_cache
from hashlib import blake2b

from troth.world.keys import Key

CENTRAL = 0
"""Shard of the kinds whose plans read outcomes of many namespaces: trust domains and their issuer
views, brokers, topic policies and rotations."""
BY_NAMESPACE = frozenset({"ServiceIdentity", "WebhookEndpoint"})
"""Kinds whose keys are spread over the shards, by namespace."""


def shard_of(key: Key, count: int) -> int:
    """Return the shard of a key, from 0 up to `count` - 1."""
    if key.kind not in BY_NAMESPACE:
        return CENTRAL
    return shard_of_namespace(key.ref.namespace, count)


@lru_cache(maxsize=1 << 14)
def shard_of_namespace(namespace: str, count: int) -> int:
    """Return the shard of a namespace, by rendezvous hashing.

    Each shard has a weight for each namespace, and the highest wins. So one more shard takes only
    the namespaces for which its own weight is the highest.
    """
    return max(range(count), key=lambda shard: _weight(shard, namespace))


def _weight(shard: int, namespace: str) -> bytes:
    return blake2b(f"{shard} {namespace}".encode(), digest_size=8).digest()
