"""Proofs in a status report."""

from collections import Counter

from troth.resources.manifests import Manifest
from troth.resources.reported import ProofResult
from troth.resources.schema.model import Model


class ProofSummary(Model):
    """Proofs of the edges of an identity, from `troth prove`."""

    proven: int
    disproven: int
    inconclusive: int
    oldest: str
    """Time of the oldest proof, in RFC 3339."""
    open: tuple[str, ...] = ()
    """What is not as declared, a line each."""


def proof_summary(status: Manifest) -> ProofSummary | None:
    """Return the proofs in a status, None if there are none."""
    proofs = status.get("proofs") or []
    times = [each["provenAt"] for each in proofs if each.get("provenAt")]
    if not times:
        return None
    counts = Counter(each.get("result") for each in proofs)
    return ProofSummary(
        proven=counts[ProofResult.PROVEN.value],
        disproven=counts[ProofResult.DISPROVEN.value],
        inconclusive=counts[ProofResult.INCONCLUSIVE.value],
        oldest=min(times),
        open=tuple(map(disproof, disproven(status))),
    )


def disproven(status: Manifest) -> list[Manifest]:
    """Return the proofs in a status that something is not as declared."""
    proofs = status.get("proofs") or []
    return [each for each in proofs if each.get("result") == ProofResult.DISPROVEN.value]


def disproof(proof: Manifest) -> str:
    """Return a proof that something is not as declared as one line."""
    said = (str(proof.get(name) or "") for name in ("probe", "peer", "port", "layer", "evidence"))
    probe, peer, port, layer, evidence = said
    return f"{probe} as {peer} on {port} at {layer}: {evidence}"
