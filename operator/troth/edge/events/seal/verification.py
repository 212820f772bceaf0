"""Verification of a seal: its form, the certificates of who sealed, and the signature."""

from collections.abc import Sequence

from troth.documents.event_bundles import TOLERANCE
from troth.edge.events.attributes import SEAL
from troth.edge.events.case import Case
from troth.edge.events.rejection import Reason, RejectedError
from troth.edge.events.seal import envelope


def compare_seal(case: Case, signed: Sequence[str]) -> None:
    """Compare the seal's digests with the message. The signature is not verified yet.

    `signed` are the names of the signed extension attributes.
    """
    expected = envelope.material(case.attributes, case.data, signed)
    try:
        seal = envelope.read_sealed(case.attributes[SEAL], expected)
    except ValueError as error:
        raise RejectedError(Reason.MALFORMED, str(error)) from None
    if seal is None:
        raise RejectedError(
            Reason.SIGNATURE_INVALID, "an attribute or the data is not what the producer sealed"
        )
    case.seal = seal


def verify_certificate(case: Case) -> None:
    """Verify the producer's certificates at the time of the event."""
    producer = case.terms.producer(case.attributes["trothchain"])
    svid = producer.svid
    if svid.is_retired_at(case.time):
        raise RejectedError(
            Reason.CERTIFICATE_INVALID,
            "the authority of the producer's certificate was retired more than "
            f"{int(TOLERANCE)} s before the time of the event",
        )
    if not svid.is_valid_at(case.time):
        raise RejectedError(
            Reason.CERTIFICATE_INVALID,
            "the producer's certificate was not valid at the time of the event",
        )
    case.producer = producer


def verify_signature(case: Case) -> None:
    """Verify the signature with the key of the producer's certificate."""
    producer, seal = case.producer, case.seal
    svid = producer.svid
    if case.attributes["source"] != svid.spiffe_id:
        raise RejectedError(
            Reason.SIGNATURE_INVALID,
            "the attribute source is not the SPIFFE ID in the producer's certificate",
        )
    signed = envelope.signed_bytes(seal.payload)
    if seal.key_id != svid.thumbprint or not producer.verifies(seal.signature, signed):
        raise RejectedError(
            Reason.SIGNATURE_INVALID,
            "the signature is not that of the key in the producer's certificate",
        )
    case.actor = svid.spiffe_id
