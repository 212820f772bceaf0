"""GitHub: an HMAC of the body, in hexadecimal. Neither the delivery's ID nor a time is signed.

https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
"""

from troth.webhooks.schemes.families.body_hmac import BodyHMAC


class GitHub(BodyHMAC):
    """`X-Hub-Signature-256: sha256=…`. The older header with SHA-1 is ignored."""

    header = b"x-hub-signature-256"
    prefix = "sha256="
    ids = (b"x-github-delivery",)
