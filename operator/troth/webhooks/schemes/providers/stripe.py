"""Stripe: an HMAC of time and body, in hexadecimal. The body has the event's ID.

https://docs.stripe.com/webhooks/signature
"""

from troth.webhooks.schemes.families.timed_header import TimedHeader, TimedHMAC
from troth.webhooks.schemes.scheme import Key, KeyFormatError

_SECRET = b"whsec_"


class Stripe(TimedHMAC):
    """`Stripe-Signature: t=…,v1=…`. Schemes other than v1 are ignored, as Stripe requires."""

    header = TimedHeader(b"stripe-signature", separator=",", time="t", signature="v1")
    joint = b"."
    event = "id"

    def key(self, key_id: str, text: bytes) -> Key:
        """Return the key, whose bytes are the text; raises `KeyFormatError`."""
        if not text.strip().startswith(_SECRET):
            # people most easily confuse it with the API keys (sk_…)
            raise KeyFormatError("the signing secret of an endpoint begins with whsec_")
        return super().key(key_id, text)
