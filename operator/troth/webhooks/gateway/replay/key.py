"""Key of a delivery in the replay store, and how long its mark stays."""

from troth.webhooks.schemes.scheme import replay_of

CLOCK_SKEW = 60.0
"""Time in seconds for which a mark outlasts the endpoint's window: the clocks of two replicas may
differ by this much, so that a delivery which is stale for one is fresh for the other."""


def replay_key(uid: str, replay: bytes) -> bytes:
    """Return a delivery's key in the store: 32 bytes, of the endpoint's UID and `Verified.replay`.

    Because of the UID, an endpoint that is deleted and created again starts empty.
    """
    return replay_of(uid.encode(), replay)
