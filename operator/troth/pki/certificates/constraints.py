"""Name constraints: the names that a certificate authority may certify (RFC 5280, 4.2.1.10)."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import Self

from cryptography import x509

from troth.pki.encodings.pem import extension


@dataclass(frozen=True, slots=True)
class Subtrees:
    """Constraints on one type of name. `permitted` is None if every name is."""

    permitted: tuple[str, ...] | None = None
    excluded: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NameConstraints:
    """Constraints of one authority's certificate on the types of names that a leaf has.

    `allow_subjects` is whether a leaf may have a subject. It may not if the certificate constrains
    directory names, as a CA does that confines its leaves to one organization.
    """

    uri: Subtrees = Subtrees()
    dns: Subtrees = Subtrees()
    allow_subjects: bool = True

    @classmethod
    def of(cls, certificate: x509.Certificate) -> Self:
        """Return the constraints of a certificate; one without the extension constrains nothing."""
        found = extension(certificate, x509.NameConstraints)
        if found is None:
            return cls()
        return cls(
            uri=_subtrees(found, x509.UniformResourceIdentifier),
            dns=_subtrees(found, x509.DNSName),
            allow_subjects=not any(
                isinstance(name, x509.DirectoryName)
                for name in (*(found.permitted_subtrees or ()), *(found.excluded_subtrees or ()))
            ),
        )

    def allow_uri_host(self, host: str) -> bool:
        """Return whether URIs with this host are allowed.

        A constraint covers exactly its host, or with a leading dot only the subdomains.
        """
        return _allowed(self.uri, host, _uri_matches)

    def allow_dns_name(self, name: str) -> bool:
        """Return whether a DNS name is allowed. A constraint covers its name and the subdomains.

        A wildcard is allowed only if none of the names that it matches is excluded.
        """
        host = name.removeprefix("*.")
        reaches_excluded = host != name and any(
            _dns_matches(host, excluded.removeprefix(".")) for excluded in self.dns.excluded
        )
        return _allowed(self.dns, host, _dns_matches) and not reaches_excluded

    @property
    def only_uri_host(self) -> str | None:
        """Return the only host that URIs may have, None if there is no single one."""
        match self.uri.permitted:
            case (str(host),) if host and not host.startswith("."):
                return host
            case _:
                return None


def permit_trust_domain(trust_domain: str) -> x509.NameConstraints:
    """Return the constraints of a confined root: SPIFFE IDs of its trust domain, no addresses.

    DNS names are not constrained, because leaves have those of Services and any that a user
    requests. E-mail addresses are not either: the subtree of all addresses is an empty string,
    which `cryptography` does not write, and no SVID verifier reads them.

    OpenSSL and Go enforce the constraints. The JDK ignores those of a trust anchor. rustls (webpki
    from 0.103.12 on) and `cryptography`'s verifier do not support URI constraints and reject every
    SPIFFE ID below such a root. So the trust domain itself does not get this certificate.
    """
    return x509.NameConstraints(
        permitted_subtrees=[x509.UniformResourceIdentifier(trust_domain)],
        excluded_subtrees=_addresses(),
    )


def exclude_addresses() -> x509.NameConstraints:
    """Return the constraints of a plain root: no addresses. Every TLS library accepts them."""
    return x509.NameConstraints(permitted_subtrees=None, excluded_subtrees=_addresses())


def _addresses() -> list[x509.GeneralName]:
    return [x509.IPAddress(IPv4Network("0.0.0.0/0")), x509.IPAddress(IPv6Network("::/0"))]


def _subtrees(
    found: x509.NameConstraints, kind: type[x509.UniformResourceIdentifier | x509.DNSName]
) -> Subtrees:
    permitted = _of_kind(found.permitted_subtrees, kind)
    # A constraint on another type of name does not affect this type.
    return Subtrees(permitted or None, _of_kind(found.excluded_subtrees, kind))


def _of_kind(
    names: Iterable[x509.GeneralName] | None,
    kind: type[x509.UniformResourceIdentifier | x509.DNSName],
) -> tuple[str, ...]:
    return tuple(name.value.lower() for name in names or () if isinstance(name, kind))


def _allowed(subtrees: Subtrees, name: str, matches: Callable[[str, str], bool]) -> bool:
    name = name.lower()
    if any(matches(subtree, name) for subtree in subtrees.excluded):
        return False
    return subtrees.permitted is None or any(
        matches(subtree, name) for subtree in subtrees.permitted
    )


def _uri_matches(subtree: str, host: str) -> bool:
    return host.endswith(subtree) if subtree.startswith(".") else host == subtree


def _dns_matches(subtree: str, name: str) -> bool:
    # RFC 5280 has no leading dot here, but OpenSSL and Go both read one as "subdomains only".
    if not subtree:
        return True
    if subtree.startswith("."):
        return name.endswith(subtree)
    return name == subtree or name.endswith("." + subtree)
