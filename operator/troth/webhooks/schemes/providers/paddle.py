"""Paddle: an HMAC of time and body, in hexadecimal. The body has the event's ID.

https://developer.paddle.com/webhooks/signature-verification
"""

from troth.webhooks.schemes.families.timed_header import TimedHeader, TimedHMAC


class Paddle(TimedHMAC):
    """`Paddle-Signature: ts=…;h1=…`, with a second h1 while a secret is rotated."""

    header = TimedHeader(b"paddle-signature", separator=";", time="ts", signature="h1")
    joint = b":"
    event = "event_id"
