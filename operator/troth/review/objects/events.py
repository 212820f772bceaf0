"""Kubernetes Events about reviews."""

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

import structlog

from troth.cluster.api import ApiServer
from troth.cluster.denials import logged
from troth.cluster.errors import ApiError
from troth.resources.metadata import API_VERSION
from troth.resources.reviews.dead_letter_review import DeadLetterReview
from troth.world.facts.objects import Manifest

NOTE_LIMIT = 1024
"""Maximum length of a note in bytes, which the API server sets."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Recorder:
    """Posts Events. One that cannot be posted is logged, and nothing depends on it."""

    server: ApiServer
    instance: str

    async def post(
        self,
        review: DeadLetterReview,
        reason: str,
        note: str,
        kind: Literal["Normal", "Warning"] = "Normal",
    ) -> None:
        """Post an Event about a review."""
        try:
            await self.server.create(_event(review, reason, note, kind, self.instance))
        except ApiError as error:
            log.warning("event lost", review=str(review.ref), reason=reason, **logged(error))


def _event(review: DeadLetterReview, reason: str, note: str, kind: str, instance: str) -> Manifest:
    now = datetime.now(UTC)
    microseconds = (now - datetime.fromtimestamp(0, UTC)) // timedelta(microseconds=1)
    namespace, name = review.ref
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {
            "name": f"{name[:200].rstrip('-.')}.{microseconds:x}{uuid.uuid4().hex[:6]}",
            "namespace": namespace,
        },
        "eventTime": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "regarding": {
            "apiVersion": API_VERSION,
            "kind": review.kind,
            "name": name,
            "namespace": namespace,
            "uid": review.metadata.uid,
        },
        "reason": reason,
        "note": note.encode()[:NOTE_LIMIT].decode(errors="ignore"),
        "type": kind,
        "action": "Review",
        "reportingController": "troth.dev/review",
        "reportingInstance": instance,
    }
