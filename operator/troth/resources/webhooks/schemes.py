"""Signature schemes of webhooks, by their names in resources."""

from enum import StrEnum


class SchemeName(StrEnum):
    """Signature scheme of a webhook's sender."""

    STANDARD_WEBHOOKS = "StandardWebhooks"
    GITHUB = "GitHub"
    GITLAB = "GitLab"
    GITLAB_TOKEN = "GitLabToken"  # noqa: S105 - the name of a scheme
    BITBUCKET = "Bitbucket"
    STRIPE = "Stripe"
    SLACK = "Slack"
    SHOPIFY = "Shopify"
    TWILIO = "Twilio"
    PADDLE = "Paddle"
    SQUARE = "Square"
    DISCORD = "Discord"
    SNS = "SNS"
    HMAC = "HMAC"
    HTTP_SIGNATURES = "HTTPSignatures"


LONGEST_BODY = {SchemeName.TWILIO: "256Ki", SchemeName.SNS: "1Mi"}
"""Maximum of `limits.body` for schemes that parse the body before they verify it. Each leaves room
for the sender's largest: a message of SNS has 256 KiB, which JSON can double.
"""

ISSUED_BY_SENDER = frozenset(
    {
        SchemeName.STRIPE,
        SchemeName.SLACK,
        SchemeName.SHOPIFY,
        SchemeName.TWILIO,
        SchemeName.PADDLE,
        SchemeName.SQUARE,
        SchemeName.DISCORD,
        SchemeName.HTTP_SIGNATURES,
    }
)
"""Schemes whose secret or public key only the sender can create."""
CHOSEN_BY_RECEIVER = frozenset(SchemeName) - ISSUED_BY_SENDER - {SchemeName.SNS}
"""Schemes whose secret the receiver creates and gives to the sender. SNS has none."""
