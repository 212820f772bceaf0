"""Where an SNS message may say that the certificate of its signature lies.

The URL is not signed: whoever sends names it. What is fetched from it decides whom to believe, so
it is compared with the one form that AWS writes and never taken apart: no user, port, query,
fragment, escape or dots can lead elsewhere. A region is spelled as regions are: a bucket of S3
whose name is `sns` answers at `sns.s3-us-west-2.amazonaws.com`, and anybody may have one.

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
    """The certificate at `url` is needed to verify a delivery; the scheme itself fetches nothing.

    `url` is one of SNS's own. Whoever catches this gets the certificate from there and nowhere else
    (no redirect, TLS as ever), and verifies again with the key that the scheme makes of it; whoever
    does not refuses the delivery.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        super().__init__(
            Reason.SENDER_UNEXPECTED, "the certificate that made the signature is not available"
        )


def is_certificate_url(url: object) -> bool:
    """Whether a URL is where AWS keeps the certificates of SNS."""
    found = _URL.fullmatch(url) if isinstance(url, str) else None
    return found is not None and found["region"].startswith(_CHINA) is bool(found["china"])
