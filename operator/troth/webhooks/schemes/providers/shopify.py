"""Shopify: an HMAC of the body, in base64. Neither the delivery's ID nor a time is signed.

https://shopify.dev/docs/apps/build/webhooks/subscribe/https
"""

from troth.webhooks.schemes.families.body_hmac import BodyHMAC
from troth.webhooks.schemes.fields.encodings import BASE64


class Shopify(BodyHMAC):
    """`X-Shopify-Hmac-Sha256`, made with the client secret of the app."""

    header = b"x-shopify-hmac-sha256"
    encoding = BASE64
    ids = (b"x-shopify-webhook-id",)
