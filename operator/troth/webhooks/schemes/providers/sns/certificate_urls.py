"""URLs at which AWS publishes the certificates that sign SNS messages.

The sender chooses the URL, which is not signed, and the certificate decides which key to trust. So
the URL is matched against the exact form that AWS uses, which allows no user, port, query,
fragment, escape or dot segment. The pattern of the region is strict too: the S3 bucket `sns` has
the host `sns.s3-us-west-2.amazonaws.com`, and anybody can own a bucket.

https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html
"""

import re

from troth.webhooks.schemes.delivery import Reason, RefusedError

_REGION = r"[a-z]{2}(?:-[a-z]{2,12}){1,3}-[0-9]{1,2}"
_URL = re.compile(
    rf"https://sns\.(?P<region>{_REGION})\.amazonaws\.com(?P<china>\.cn)?/[A-Za-z0-9_-]{{1,128}}\.pem",
    re.ASCII,
)
_CHINA = "cn-"


class CertificateNeededError(RefusedError):
    """Raised if the certificate at `url` is needed to verify a delivery; schemes do no I/O.

    `url` is one of AWS's. The caller fetches the certificate from there, with TLS and without
    following redirects, and verifies again with the key that the scheme makes of it. Otherwise it
    rejects the delivery.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        super().__init__(
            Reason.SENDER_UNEXPECTED, "the certificate that made the signature is not available"
        )


def is_certificate_url(url: object) -> bool:
    """Return whether AWS publishes certificates of SNS at a URL."""
    found = _URL.fullmatch(url) if isinstance(url, str) else None
    return found is not None and found["region"].startswith(_CHINA) is bool(found["china"])
