"""Subject of an identity's leaf, for programs that read a client's name only from there.

Kafka derives a principal from the subject and ignores URI SANs. The subject never has a common
name. If a certificate has no DNS name, OpenSSL, Python, curl and Java compare the requested host
with the common name (RFC 6125, section 6.4.4): a person who may create an identity named
`payments.shop.svc` could impersonate that Service. Kubernetes reads a common name as a user.
"""

from dataclasses import dataclass

from cryptography import x509
from cryptography.x509.oid import NameOID


@dataclass(frozen=True, slots=True)
class Subject:
    """`UID=<name>,OU=<namespace>` of an identity, unique in the cluster.

    `str` returns the form of RFC 2253 and RFC 4514, which Java, Kafka and `Leaf.subject` use. That
    form reverses the parts: in the certificate, the namespace is first.
    """

    name: str
    namespace: str

    def __str__(self) -> str:
        return f"UID={self.name},OU={self.namespace}"

    def encoded(self) -> x509.Name:
        """Return the subject as a certificate holds it."""
        return x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, self.namespace),
                x509.NameAttribute(NameOID.USER_ID, self.name),
            ]
        )
