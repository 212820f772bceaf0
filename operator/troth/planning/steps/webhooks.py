"""Steps that a WebhookEndpoint asks for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from troth.planning.steps.step import ManifestStep
from troth.resources.references import Ref
from troth.resources.webhooks.schemes import SchemeName
from troth.world.facts.webhook import CompiledSecret
from troth.world.world import World


@dataclass(frozen=True, slots=True)
class TurnWebhookKeys(ManifestStep):
    """Keys that Troth makes for the sender of a webhook: one to add, by its id, and some to drop.

    `uid` and `resource_version` are of the Secret as it was seen, empty where there is none; `made`
    is when those were made that stay.
    """

    uid: str
    resource_version: str
    scheme: SchemeName
    adds: str
    drops: tuple[str, ...]
    made: Mapping[str, datetime]


@dataclass(frozen=True, slots=True)
class CompileEndpoint(ManifestStep):
    """An endpoint as its gateway must have it: a document, and keys of the Secret `source`.

    `keys` are the fingerprints of the keys by their ids: others are not copied. `listed` is the
    fingerprint of what its target has been told, empty while that is to be waited for.
    """

    document: str = field(repr=False)
    source: Ref | None
    keys: Mapping[str, str]
    listed: str

    def is_done(self, world: World) -> bool:
        """Say whether the gateway has just what it must have."""
        _, ref = self.target
        known = world.webhooks.compiled.get(ref)
        return known is not None and self.matches(known)

    def matches(self, known: CompiledSecret) -> bool:
        """Say whether a compiled endpoint is as it must be."""
        labels = self.manifest["metadata"]["labels"]
        return (
            known.intact
            and all(known.labels.get(name) == value for name, value in labels.items())
            and known.document == self.document
            and known.keys == self.keys
            and known.listed == self.listed
        )
