"""The signature schemes of webhooks, by the names that resources give them."""

from enum import StrEnum


class SchemeName(StrEnum):
    """How the sender of a webhook signs."""

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
"""The schemes whose secret, or public key, the sender makes: nobody else can."""
CHOSEN_BY_RECEIVER = frozenset(SchemeName) - ISSUED_BY_SENDER - {SchemeName.SNS}
"""The schemes whose secret the receiver makes and gives to the sender. SNS has none."""
