"""Client certificates that one endpoint accepts, by names and roots.

TLS has already verified that the sender has the key, and the chain against the roots of all
endpoints. This module verifies the chain against the roots of this endpoint, and its validity,
which may have ended since the connection began.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from troth.documents.webhook_endpoint import ClientCertificate, EndpointError
from troth.pki.certificates import paths
from troth.pki.certificates.constraints import NameConstraints
from troth.pki.encodings.pem import extension, read_certificates
from troth.pki.errors import PKIError

_DEEPEST = 4
_KEPT = 64
"""Maximum number of cached valid chains of an endpoint; a sender usually has one."""

Certificates = list[x509.Certificate]


class ClientCertificates:
    """Client certificates that one endpoint accepts."""

    def __init__(self, wanted: ClientCertificate) -> None:
        """Read the names and roots; raises `EndpointError` if they are invalid."""
        self._names = frozenset(map(_name, wanted.sans))
        try:
            roots = read_certificates(wanted.authorities.encode(), "the bundle", comments=True)
        except PKIError:
            raise EndpointError(
                "source.clientCertificate: there are no certificates in PEM"
            ) from None
        # `constraints.permit_trust_domain` lists the verifiers that support such constraints
        constrained = [each for each in roots if _constrains_uris(each)]
        others = [each for each in roots if each not in constrained]
        self._constrained = constrained
        self._store = Store(others) if others else None
        self._known: dict[tuple[str, ...], float] = {}

    def accepts(self, chain: tuple[str, ...], now: float) -> bool:
        """Return whether a chain (PEM each, leaf first) is accepted at `now` (since the epoch)."""
        known = self._known.get(chain)
        if known is not None and now < known:
            return True
        until = self._until(chain, now)
        if until is None:
            self._known.pop(chain, None)
            return False
        if len(self._known) >= _KEPT:
            self._known.clear()
        self._known[chain] = until
        return True

    def _until(self, chain: Sequence[str], now: float) -> float | None:
        """Return the time until which a chain is valid, None if it is not."""
        moment = datetime.fromtimestamp(now, UTC)
        try:
            served = read_certificates("".join(chain).encode(), "the chain")
        except PKIError:
            return None
        leaf_names = extension(served[0], x509.SubjectAlternativeName)
        if leaf_names is None or self._names.isdisjoint(leaf_names):
            return None
        path = self._by_library(served, moment) or self._by_constraints(served, moment)
        return min(each.not_valid_after_utc.timestamp() for each in path) if path else None

    def _by_library(self, served: Certificates, moment: datetime) -> Certificates | None:
        """Return the path from a leaf to a root that does not constrain URIs."""
        if self._store is None:
            return None
        policy = PolicyBuilder().store(self._store).max_chain_depth(_DEEPEST).time(moment)
        try:
            return policy.build_client_verifier().verify(served[0], served[1:]).chain
        except (VerificationError, x509.UnsupportedGeneralNameType, ValueError):
            return None

    def _by_constraints(self, served: Certificates, moment: datetime) -> Certificates | None:
        """Return the path to a root that constrains URIs, like Troth's own roots."""
        if not self._constrained:
            return None
        try:
            shown = served[:1] + [each for each in served[1:] if each not in self._constrained]
            path = list(paths.to_anchor(shown, self._constrained))
            paths.check(path[1:])
            sound = (
                len(path) <= _DEEPEST + 1
                and all(
                    each.not_valid_before_utc <= moment < each.not_valid_after_utc for each in path
                )
                and _is_a_clients(path[0])
                and all(_allows(each, path[0]) for each in path[1:])
            )
        except (PKIError, ValueError):
            return None
        return path if sound else None


def _constrains_uris(root: x509.Certificate) -> bool:
    try:
        uri = NameConstraints.of(root).uri
    except (PKIError, ValueError):
        raise EndpointError("source.clientCertificate: a root cannot be read") from None
    return uri.permitted is not None or bool(uri.excluded)


def _allows(authority: x509.Certificate, leaf: x509.Certificate) -> bool:
    """Return whether an authority may certify all names of a leaf."""
    constraints = NameConstraints.of(authority)
    for name in extension(leaf, x509.SubjectAlternativeName) or ():
        if isinstance(name, x509.UniformResourceIdentifier):
            allowed = constraints.allow_uri_host(urlsplit(name.value).hostname or "")
        elif isinstance(name, x509.DNSName):
            allowed = constraints.allow_dns_name(name.value)
        else:
            allowed = False
        if not allowed:
            return False
    return constraints.allow_subjects or not list(leaf.subject)


def _is_a_clients(leaf: x509.Certificate) -> bool:
    purposes = extension(leaf, x509.ExtendedKeyUsage)
    return purposes is None or ExtendedKeyUsageOID.CLIENT_AUTH in purposes


def _name(text: str) -> x509.GeneralName:
    kind, _, value = text.partition(":")
    if kind == "URI" and value:
        return x509.UniformResourceIdentifier(value)
    if kind == "DNS" and value:
        return x509.DNSName(value)
    raise EndpointError("source.clientCertificate: write a name as URI:… or DNS:…")
