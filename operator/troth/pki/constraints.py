"""Name constraints: which names an authority may vouch for (RFC 5280 section 4.2.1.10)."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import Self

from cryptography import x509

from troth.pki.pem import extension


@dataclass(frozen=True, slots=True)
class Subtrees:
    """The constraints on one type of name: None permitted means that any is."""

    permitted: tuple[str, ...] | None = None
    excluded: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NameConstraints:
    """What one authority's certificate says of the types of name a leaf carries.

    `allow_subjects` is whether a leaf may have a subject: not where anything is said of directory
    names, as a given CA's certificate may to keep everything below one organization.
    """

    uri: Subtrees = Subtrees()
    dns: Subtrees = Subtrees()
    allow_subjects: bool = True

    @classmethod
    def of(cls, certificate: x509.Certificate) -> Self:
        """Read them; a certificate without any constrains nothing."""
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
        """Whether URIs of this host are allowed: the host itself, or with a leading dot its
        subdomains only.
        """
        return _allowed(self.uri, host, _uri_matches)

    def allow_dns_name(self, name: str) -> bool:
        """Whether this DNS name is allowed: a constraint covers itself and its subdomains.

        A wildcard is judged by the names it stands for, so it must not reach an excluded one.
        """
        host = name.removeprefix("*.")
        reaches_excluded = host != name and any(
            _dns_matches(host, excluded.removeprefix(".")) for excluded in self.dns.excluded
        )
        return _allowed(self.dns, host, _dns_matches) and not reaches_excluded

    @property
    def only_uri_host(self) -> str | None:
        """The one host all URIs must have, None where there is no such single host."""
        match self.uri.permitted:
            case (str(host),) if host and not host.startswith("."):
                return host
            case _:
                return None


def permit_trust_domain(trust_domain: str) -> x509.NameConstraints:
    """The constraints of a self-managed root: SPIFFE IDs of its own trust domain, no addresses.

    DNS names stay free, because leaves carry those of Services and whatever names a user gives.
    E-mail addresses are left out: the subtree that means "every address" is an empty string,
    which `cryptography` does not write, and no SVID verifier looks at them.

    OpenSSL and Go hold a root to them. The JDK ignores what a trust anchor says of itself; rustls
    (webpki from 0.103.12 on) and `cryptography`'s own verifier know no URI constraints and refuse
    everything below.
    """
    return x509.NameConstraints(
        permitted_subtrees=[x509.UniformResourceIdentifier(trust_domain)],
        excluded_subtrees=[
            x509.IPAddress(IPv4Network("0.0.0.0/0")),
            x509.IPAddress(IPv6Network("::/0")),
        ],
    )


def _subtrees(
    found: x509.NameConstraints, kind: type[x509.UniformResourceIdentifier | x509.DNSName]
) -> Subtrees:
    permitted = _of_kind(found.permitted_subtrees, kind)
    # A constraint on another type of name says nothing of this one.
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
    # The RFC knows no leading dot here, but OpenSSL and Go both read one, as "subdomains only".
    if not subtree:
        return True
    if subtree.startswith("."):
        return name.endswith(subtree)
    return name == subtree or name.endswith("." + subtree)
