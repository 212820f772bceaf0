"""IDs of dead letters: the same for each dead letter of a message of a log."""

import hashlib

from troth.pki.encodings import base64url


def letter_id(consumer: str, policy: str, group: str | None, origin: str, digest: str) -> str:
    """Return the ID of a consumer's dead letter of a message.

    `consumer` is its SPIFFE ID, `origin` has the offset of the message, and `digest` is the SHA-256
    of the message's data in base64url.
    """
    whole = "\n".join((consumer, policy, group or "", origin, digest))
    return base64url.encode(hashlib.sha256(whole.encode()).digest())
