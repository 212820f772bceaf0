"""GitLab's older scheme: deliveries carry the secret itself, and nothing is signed.

https://docs.gitlab.com/user/project/integrations/webhooks/
"""

import hmac
from collections.abc import Sequence
from hashlib import sha256

from troth.webhooks.schemes.delivery import Delivery, Reason, RefusedError
from troth.webhooks.schemes.fields.identifiers import claimed_in_header, logged_id
from troth.webhooks.schemes.scheme import Key, KeyFormatError, Stamp, Verified, replay_of
from troth.webhooks.schemes.signatures.key_texts import plain_text
from troth.webhooks.schemes.signatures.matching import secret_of

TOKEN = "token"  # noqa: S105 - name of the algorithm

_HEADER = b"x-gitlab-token"
_ID = b"idempotency-key"
_OLDER_ID = b"x-gitlab-event-uuid"


class GitLabToken:
    """`X-Gitlab-Token`. A person who sees one delivery can forge any other."""

    signs_timestamp = False

    def key(self, key_id: str, text: bytes) -> Key:
        """Return the key; raises `KeyFormatError`."""
        plain = plain_text(text)
        if not plain.isascii():
            raise KeyFormatError("a token is sent in a header, so it must be ASCII")
        return Key(key_id, TOKEN, plain.encode())

    def verify(
        self,
        delivery: Delivery,
        keys: Sequence[Key],
        now: float,  # noqa: ARG002 - no time is signed
        tolerance: float,  # noqa: ARG002
    ) -> Verified:
        """Return the verified facts of a delivery; raises `RefusedError`."""
        token = delivery.header(_HEADER, Reason.SIGNATURE_MISSING)
        if not token:
            raise RefusedError(Reason.SIGNATURE_MISSING, "the header x-gitlab-token is empty")
        # Digests are compared, because comparing the texts would reveal the length of the token.
        presented = sha256(token.encode()).digest()
        found = None
        for key in keys:
            fits = hmac.compare_digest(sha256(secret_of(key)).digest(), presented)
            if fits and found is None:
                found = key.id
        if found is None:
            raise RefusedError(Reason.SIGNATURE_WRONG, "no key of the endpoint matches the token")
        # The IDs are as reliable as the body. Without them two equal events would count as one.
        ids = [logged_id(delivery, name) for name in (_ID, _OLDER_ID)]
        replay = replay_of(b"unsigned", *((each or "").encode() for each in ids), delivery.body)
        return Verified(found, replay, ids[0] or ids[1], signed=False)

    def claimed_id(self, delivery: Delivery) -> str | None:
        """Return the ID that an unverified delivery claims."""
        return claimed_in_header(delivery, _ID, _OLDER_ID)

    def sign(self, delivery: Delivery, key: Key, stamp: Stamp) -> Delivery:
        """Return the delivery with the token."""
        return delivery.with_headers(
            ((_HEADER.decode(), secret_of(key).decode()), (_ID.decode(), stamp.delivery_id))
        )
