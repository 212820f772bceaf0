"""SPIFFE IDs, the names of workloads.

A SPIFFE ID is a URI `spiffe://<trust domain>/<path>` of letters, digits, `.`, `-` and `_`, so each
identity has exactly one spelling (SPIFFE, standards/SPIFFE-ID.md, section 2).
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

from troth.pki.errors import SPIFFEIDError

MAX_ID_BYTES = 2048  # section 2.3
MAX_TRUST_DOMAIN_BYTES = 255  # section 2.3

_SCHEME = "spiffe://"
_TRUST_DOMAIN = re.compile(r"[a-z0-9._-]+", re.ASCII)
_SEGMENT = re.compile(r"[a-zA-Z0-9._-]+", re.ASCII)
# RFC 1123 labels, as in Kubernetes. The name of a ServiceAccount may be several, joined by dots.
_NAMESPACE = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_ACCOUNT = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?", re.ASCII)


@dataclass(frozen=True, slots=True)
class SPIFFEID:
    """SPIFFE ID in two parts; `str()` returns the URI.

    `path` is empty for the trust domain itself, and otherwise begins with `/`. `parse` checks the
    parts; the constructor does not.
    """

    trust_domain: str
    path: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the SPIFFE ID that a text is; nothing is normalised.

        Raises `SPIFFEIDError` for everything that section 2 of the specification does not allow:
        more than 2048 bytes, another scheme, user information, a port, a query, a fragment, percent
        encoding, upper case in the trust domain, empty or dot segments, a trailing slash.
        """
        if len(text) > MAX_ID_BYTES:
            raise SPIFFEIDError(
                "SPIFFEIDTooLong",
                f"A SPIFFE ID has at most {MAX_ID_BYTES} bytes; shorten its names.",
            )
        if not text.startswith(_SCHEME):
            raise SPIFFEIDError(
                "NotASPIFFEID",
                f"A SPIFFE ID begins with {_SCHEME} in lower case; add or correct it.",
            )
        trust_domain, slash, path = text.removeprefix(_SCHEME).partition("/")
        check_trust_domain(trust_domain)
        if slash:
            _check_segments(path)
        return cls(trust_domain, slash + path)

    def __str__(self) -> str:
        return f"{_SCHEME}{self.trust_domain}{self.path}"


@lru_cache(maxsize=4096)  # a workload has few peers
def trust_domain_of(text: str) -> str:
    """Return the trust domain of a SPIFFE ID; raises `SPIFFEIDError`."""
    return SPIFFEID.parse(text).trust_domain


def check_trust_domain(name: str) -> str:
    """Return `name` if it is a valid trust domain name, else raise `SPIFFEIDError`.

    A name has 1 to 255 lower-case letters, digits, `.`, `-` and `_` (sections 2.1 and 2.3).
    """
    if len(name) > MAX_TRUST_DOMAIN_BYTES:
        raise SPIFFEIDError(
            "TrustDomainTooLong",
            f"A trust domain name has at most {MAX_TRUST_DOMAIN_BYTES} characters; shorten it.",
        )
    if not _TRUST_DOMAIN.fullmatch(name):
        raise SPIFFEIDError(
            "InvalidTrustDomain",
            f"{name!r} is not a trust domain name; use lower-case letters, digits, '.', '-' and "
            "'_' only, without a scheme, a port or a path.",
        )
    return name


@lru_cache(maxsize=4096)  # each plan of an identity names all of its peers
def spiffe_id(trust_domain: str, namespace: str, service_account: str) -> str:
    """Return the SPIFFE ID of a workload: `spiffe://<trust domain>/ns/<namespace>/sa/<account>`.

    Raises `SPIFFEIDError` for an invalid part, such as one with a slash.
    """
    check_trust_domain(trust_domain)
    if not _NAMESPACE.fullmatch(namespace):
        raise SPIFFEIDError(
            "InvalidNamespace",
            f"{namespace!r} is not the name of a Kubernetes namespace; correct it.",
        )
    if not _ACCOUNT.fullmatch(service_account) or ".." in service_account:
        raise SPIFFEIDError(
            "InvalidServiceAccount",
            f"{service_account!r} is not the name of a Kubernetes service account; correct it.",
        )
    return f"{_SCHEME}{trust_domain}/ns/{namespace}/sa/{service_account}"


def _check_segments(path: str) -> None:
    for segment in path.split("/"):
        if segment in {"", ".", ".."}:
            raise SPIFFEIDError(
                "InvalidPath",
                "A SPIFFE ID has no empty, '.' or '..' path segments and no trailing '/'; "
                "remove them.",
            )
        if not _SEGMENT.fullmatch(segment):
            raise SPIFFEIDError(
                "InvalidPath",
                f"The path segment {segment!r} is not allowed in a SPIFFE ID; use letters, "
                "digits, '.', '-' and '_' only.",
            )
