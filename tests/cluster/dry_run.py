"""Dry runs over one connection: the API server's answer to a manifest, without storing it."""

import http.client
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from tests.cluster.person import reached_by
from tests.patience import PATIENCE
from troth.resources.kinds import EVERY_KIND_BY_NAME
from troth.resources.metadata import API_VERSION

Manifest = dict[str, Any]
UNCHECKED = "some validation rules were not checked because the object was invalid"


@dataclass(frozen=True)
class Complaint:
    """One complaint of a judge about a manifest: its type, field and message."""

    reason: str
    field: str
    sentence: str


@dataclass(frozen=True)
class Answer:
    """The API server's answer to a dry run."""

    status: int
    body: Manifest

    @property
    def accepted(self) -> bool:
        return self.status < http.client.BAD_REQUEST

    @property
    def complaints(self) -> list[Complaint]:
        """The complaints that it lists; empty also if it rejects without naming a field."""
        causes = (self.body.get("details") or {}).get("causes") or []
        return [
            Complaint(
                cause.get("reason", ""),
                cause.get("field", "").removeprefix("<nil>"),
                cause.get("message", ""),
            )
            for cause in causes
        ]

    @property
    def unchecked(self) -> bool:
        """Whether it left rules unchecked, in addition to its complaints."""
        return any(UNCHECKED in complaint.sentence for complaint in self.complaints)


class DryRun:
    """A connection to the API server that stores nothing. Use it as a context manager."""

    def __init__(self, kubeconfig: Path) -> None:
        server, context = reached_by(kubeconfig)
        self._connection = http.client.HTTPSConnection(
            urlsplit(server).netloc, timeout=PATIENCE, context=context
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def create(self, manifest: Manifest) -> Answer:
        """Ask as `kubectl create --dry-run=server` does, strict about unknown fields."""
        kind = EVERY_KIND_BY_NAME[manifest["kind"]]
        place = f"namespaces/{manifest['metadata']['namespace']}/" if kind.namespaced else ""
        self._connection.request(
            "POST",
            f"/apis/{API_VERSION}/{place}{kind.plural}?dryRun=All&fieldValidation=Strict",
            body=json.dumps(manifest),
            headers={"Content-Type": "application/json", "Accept": "application/json"},
        )
        response = self._connection.getresponse()
        return Answer(response.status, json.loads(response.read()))
