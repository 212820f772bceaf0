"""Creates, approves and ends DeadLetterReviews with the user's own rights.

The API server holds the names in a review to the users who write them; this module only writes
them, and shows the API server's answer as it is.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from troth.cli.inputs.access import CONFLICT, NOT_FOUND, PersonalServer
from troth.cli.inputs.single import fault
from troth.cluster.errors import ApiError
from troth.resources.manifests import Manifest, parse_resource
from troth.resources.metadata import API_VERSION
from troth.resources.references import Ref
from troth.resources.reviews.dead_letter_review import DeadLetterReview
from troth.resources.schema.scalars import format_time, parse_moment

KIND = "DeadLetterReview"
_ATTEMPTS = 5
_LONGEST_NAME = 253
"""Maximum length of the name of an object."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Review that a user requests."""

    policy: Ref
    action: str
    reason: str
    select: dict[str, Any] = field(repr=False)
    name: str = ""
    rate: str | None = None

    def manifest(self, requested_by: str, now: datetime) -> Manifest:
        """Return the manifest of the review; raises `FaultyManifests` if it is invalid."""
        spec: Manifest = {
            "policy": {"name": self.policy.name},
            **({"select": self.select} if self.select else {}),
            "action": self.action,
            "reason": self.reason,
            "requestedBy": requested_by,
        }
        if self.rate is not None:
            spec["rate"] = self.rate
        ending = f"-{self.action.lower()}-{now:%Y%m%d-%H%M%S}"
        name = self.name or self.policy.name[: _LONGEST_NAME - len(ending)].rstrip("-.") + ending
        manifest = {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": {"name": name, "namespace": self.policy.namespace},
            "spec": spec,
        }
        parse_resource(manifest)
        return manifest


async def user_name(server: PersonalServer) -> str:
    """Return the name of the user as the API server authenticates it."""
    review = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "SelfSubjectReview",
        "metadata": {},
    }
    answer = await server.create(review)
    name = ((answer.get("status") or {}).get("userInfo") or {}).get("username")
    if not isinstance(name, str) or not name:
        raise fault("API server", "its SelfSubjectReview names no user")
    return name


@dataclass(frozen=True, slots=True)
class Found:
    """Review as the API server has it."""

    manifest: Manifest = field(repr=False)
    review: DeadLetterReview

    @property
    def created(self) -> datetime:
        """Time at which the review was created."""
        return parse_moment(self.manifest["metadata"]["creationTimestamp"])

    @property
    def until(self) -> str:
        """Time of the latest letter that it selects."""
        return format_time(self.review.until(self.created))


async def find(server: PersonalServer, ref: Ref) -> Found:
    """Return a review; raises `FaultyManifests` if there is none."""
    try:
        manifest = await server.get(KIND, ref)
    except ApiError as error:
        if error.status == NOT_FOUND:
            raise fault(f"{KIND} {ref}", "does not exist; `kubectl get dlr` lists them") from None
        raise
    review = parse_resource(manifest)
    assert isinstance(review, DeadLetterReview)
    return Found(manifest, review)


async def approve(server: PersonalServer, found: Found, user: str) -> Manifest:
    """Approve the selection of a review as it was shown, and return the review.

    Raises `FaultyManifests` if the review changed since, and `ApiError`.
    """
    selection = found.review.status.selection
    approval = {"approvedBy": user} | ({"selection": selection.digest} if selection else {})
    return await _patch(server, found, {"approval": approval})


async def withdraw(server: PersonalServer, found: Found, user: str, reason: str) -> Manifest:
    """End a review, and return it."""
    return await _patch(server, found, {"withdrawal": {"withdrawnBy": user, "reason": reason}})


async def _patch(server: PersonalServer, shown: Found, spec: Manifest) -> Manifest:
    """Change a review unless its spec or its selection is not what was shown.

    The status of a review changes often, so a conflict is no reason to give up.
    """
    ref, found = shown.review.ref, shown
    for _ in range(_ATTEMPTS):
        version = found.manifest["metadata"]["resourceVersion"]
        patch = {"metadata": {"resourceVersion": version}, "spec": spec}
        try:
            return await server.merge_patch(KIND, ref, patch)
        except ApiError as error:
            if error.status != CONFLICT:
                raise
        found = await find(server, ref)
        if found.manifest["metadata"]["uid"] != shown.manifest["metadata"]["uid"] or (
            found.review.spec,
            _digest(found),
        ) != (shown.review.spec, _digest(shown)):
            raise fault(f"{KIND} {ref}", "changed since it was shown; look at it again")
    raise fault(f"{KIND} {ref}", "is changed by others all the time; try again")


def _digest(found: Found) -> str | None:
    selection = found.review.status.selection
    return None if selection is None else selection.digest
