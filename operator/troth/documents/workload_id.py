"""SPIFFE IDs of workloads in documents."""

from typing import Annotated

from pydantic import AfterValidator

from troth.pki.errors import SPIFFEIDError
from troth.pki.spiffe import SPIFFEID


def _workload(text: str) -> str:
    try:
        identity = SPIFFEID.parse(text)
    except SPIFFEIDError as error:
        raise ValueError(f"is not a SPIFFE ID ({error.reason})") from None
    if not identity.path:
        raise ValueError("is the SPIFFE ID of a trust domain, and not of a workload")
    return text


WorkloadID = Annotated[str, AfterValidator(_workload)]
