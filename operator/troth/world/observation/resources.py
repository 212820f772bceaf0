"""Parsing of declared resources, or the reason why they are invalid."""

from collections.abc import Iterator
from typing import Any, TypeVar

from pydantic import ValidationError

from troth.resources.faults import faults_of
from troth.resources.identity.status import ClaimStatus
from troth.resources.messaging.topic_policy_status import PolicyClaim
from troth.resources.metadata import Resource
from troth.resources.references import Ref
from troth.resources.schema.bounded_json import read_json
from troth.resources.selectors import LabelSelector
from troth.resources.trust_domain.spec import TrustDomain
from troth.resources.trust_domain.status import SPEC_LIMIT
from troth.trust.declarations.claims import Claim, Rank, ranks_of
from troth.trust.declarations.governance import NOTHING_READ, UnreadDomain
from troth.world.facts.objects import UNREADABLE, Manifest
from troth.world.observation.objects import created_at

R = TypeVar("R", bound=Resource)
C = TypeVar("C", ClaimStatus, PolicyClaim)


def says_terminating(manifest: Manifest | None) -> bool:
    """Return whether an object is being deleted; its spec need not be valid."""
    return manifest is not None and bool(manifest["metadata"].get("deletionTimestamp"))


def parsed(manifest: Manifest | None, model: type[R]) -> tuple[R | None, str]:
    """Return the resource of a manifest, or the reason why it is invalid."""
    if manifest is None:
        return None, ""
    if UNREADABLE in manifest:
        return None, str(manifest[UNREADABLE])
    try:
        return model.parse(manifest), ""
    except ValidationError as error:
        return None, "; ".join(str(fault) for fault in faults_of(error, "", ""))


def accepted_claims(manifest: Manifest) -> dict[Claim, Rank]:
    """Return the claims that the status of an unreadable ServiceIdentity keeps."""
    accepted = _claims_in(manifest, ClaimStatus)
    return ranks_of(Ref.of(manifest), created_at(manifest), accepted)


def policy_claims(manifest: Manifest | None) -> tuple[PolicyClaim, ...]:
    """Return the claims that the status of an unreadable TopicPolicy keeps."""
    return () if manifest is None else tuple(_claims_in(manifest, PolicyClaim))


def _claims_in(manifest: Manifest, model: type[C]) -> Iterator[C]:
    """Yield the readable claims of a status."""
    status = manifest.get("status")
    claims = status.get("claims") if isinstance(status, dict) else None
    for each in claims if isinstance(claims, list) else []:
        try:
            yield model.model_validate(each)
        except ValidationError:
            continue


def earlier_domain(manifest: Manifest) -> TrustDomain | None:
    """Return an unreadable TrustDomain with its last readable spec, None if that is unknown."""
    status = manifest.get("status")
    text = status.get("readableSpec") if isinstance(status, dict) else None
    bare = {name: part for name, part in manifest.items() if name != UNREADABLE}
    try:
        spec = read_json(text, SPEC_LIMIT) if isinstance(text, str) else None
        return TrustDomain.parse({**bare, "spec": spec})
    except ValueError:  # and with it pydantic's ValidationError
        return None


def readable_parts(manifest: Manifest) -> UnreadDomain:
    """Return the parts of an unreadable TrustDomain that can be read."""
    spec: Any = manifest.get("spec")
    if not isinstance(spec, dict):
        return NOTHING_READ
    name = spec.get("domain")
    return UnreadDomain(_selector(spec), name if isinstance(name, str) else None)


def _selector(spec: dict[str, Any]) -> LabelSelector | None:
    try:
        return LabelSelector.model_validate(spec.get("namespaceSelector"))
    except ValueError:
        return None
