"""The producers of events: verified certificates, by the attribute `trothchain`."""

from base64 import b64decode, b64encode
from binascii import Error
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial

from cryptography import x509

from troth.edge.events.attributes import LONGEST_CHAIN
from troth.edge.events.rejection import Reason, RejectedError
from troth.edge.events.seal.signatures import Verify, verifier
from troth.edge.identity.svid import SVID, verify_svid
from troth.pki.bundles.spiffe_bundle import SPIFFEBundle
from troth.pki.encodings.pem import UNREADABLE, check_cost
from troth.pki.errors import PKIError

MOST_CERTIFICATES = 5
"""Maximum number of certificates in an event, the leaf included."""

_MOST_PRODUCERS = 1024


@dataclass(frozen=True, slots=True)
class Producer:
    """Producer whose certificates are verified, except for the time.

    `verifies` returns whether a signature of some bytes is that of the producer's key.
    """

    svid: SVID
    verifies: Verify = field(repr=False)


def producers(bundles: Mapping[str, SPIFFEBundle]) -> Callable[[str], Producer]:
    """Return a function that returns the producer of a `trothchain`.

    The bundles verify its certificates, once for each of the chains that were used last. The
    function raises `RejectedError` with `CertificateInvalid`, and remembers no such chain.
    """
    return lru_cache(maxsize=_MOST_PRODUCERS)(partial(_verified, bundles))


def _verified(bundles: Mapping[str, SPIFFEBundle], text: str) -> Producer:
    try:
        svid = verify_svid(parse_chain(text), bundles)
    except PKIError as error:
        raise RejectedError(
            Reason.CERTIFICATE_INVALID,
            f"the producer's certificates cannot be verified ({error.reason})",
        ) from None
    return Producer(svid, verifier(svid.public_key))


def parse_chain(text: str) -> list[x509.Certificate]:
    """Return the certificates of the attribute `trothchain`, leaf first.

    Raises `RejectedError` for other bytes than the canonical base64 of 1 to 5 certificates in DER,
    joined by dots, and for a key that takes long to verify with.
    """
    parts = text.split(".", MOST_CERTIFICATES)
    if len(text) > LONGEST_CHAIN or len(parts) > MOST_CERTIFICATES:
        raise _unreadable_chain()
    try:
        ders = [b64decode(each, validate=True) for each in parts]
        found = [x509.load_der_x509_certificate(each) for each in ders]
        for each in found:
            check_cost(each, "The producer's chain")
    except (Error, PKIError, *UNREADABLE):
        raise _unreadable_chain() from None
    if ".".join(b64encode(each).decode() for each in ders) != text:
        raise _unreadable_chain()
    return found


def _unreadable_chain() -> RejectedError:
    return RejectedError(
        Reason.CERTIFICATE_INVALID, "the attribute trothchain is not 1 to 5 readable certificates"
    )
