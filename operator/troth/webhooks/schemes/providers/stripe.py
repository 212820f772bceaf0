"""Stripe: an HMAC of time and body, in hexadecimal. The body has the event's id.

https://docs.stripe.com/webhooks/signature
"""

from troth.webhooks.schemes.scheme import Key, KeyFormatError
from troth.webhooks.schemes.timed_header import TimedHeader, TimedHMAC

_SECRET = b"whsec_"


class Stripe(TimedHMAC):
    """`Stripe-Signature: t=…,v1=…`; schemes other than v1 are ignored, as Stripe asks for."""

    header = TimedHeader(b"stripe-signature", separator=",", time="t", signature="v1")
    joint = b"."
    event = "id"

    def key(self, key_id: str, text: bytes) -> Key:
        """Return the key, which is the text itself; raises `KeyFormatError`."""
        if not text.strip().startswith(_SECRET):
            # the API's own keys (sk_…) are what is most easily taken for it
            raise KeyFormatError("the signing secret of an endpoint begins with whsec_")
        return super().key(key_id, text)
