"""The subject of an identity's leaf, for programs that take a client's name from there alone.

Kafka is one: it makes a principal of the subject and sees no URI SAN. It is never a common name.
Where a certificate has no DNS name, OpenSSL, Python, curl and Java compare the host that was asked
for with the common name (RFC 6125 section 6.4.4), so that whoever may call an identity
`payments.shop.svc` could pass for that Service; and Kubernetes takes a common name for a user.
"""

from dataclasses import dataclass

from cryptography import x509
from cryptography.x509.oid import NameOID


@dataclass(frozen=True, slots=True)
class Subject:
    """`UID=<name>,OU=<namespace>` of an identity; no two identities of a cluster have the same.

    `str` gives it as RFC 2253 and RFC 4514 write it, which is how Java, Kafka and `Leaf.subject`
    show it. That has the last part first, so the namespace stands first in the certificate.
    """

    name: str
    namespace: str

    def __str__(self) -> str:
        return f"UID={self.name},OU={self.namespace}"

    def encoded(self) -> x509.Name:
        """Return it as a certificate holds it."""
        return x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, self.namespace),
                x509.NameAttribute(NameOID.USER_ID, self.name),
            ]
        )
