"""GitLab: Standard Webhooks v1 with the signing token, a secret of 32 bytes.

https://docs.gitlab.com/user/project/integrations/webhooks/
"""

from troth.webhooks.schemes.providers.standard_webhooks import SECRET, StandardWebhooks
from troth.webhooks.schemes.scheme import Key, KeyFormatError
from troth.webhooks.schemes.signatures.matching import HMAC_SHA256, secret_of

_BYTES = 32


class GitLab(StandardWebhooks):
    """Like `StandardWebhooks`, with only the kind of key that GitLab uses."""

    def key(self, key_id: str, text: bytes) -> Key:
        """Return a `whsec_` key; raises `KeyFormatError`."""
        key = super().key(key_id, text)
        if key.algorithm != HMAC_SHA256 or len(secret_of(key)) != _BYTES:
            raise KeyFormatError(
                f"a signing token is {SECRET} followed by {_BYTES} bytes in base64"
            )
        return key
