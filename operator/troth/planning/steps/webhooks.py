"""Steps in the plan of a WebhookEndpoint."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from troth.planning.steps.step import ManifestStep
from troth.resources.references import Ref
from troth.resources.webhooks.schemes import SchemeName
from troth.world.facts.webhook import CompiledSecret
from troth.world.world import World


@dataclass(frozen=True, slots=True)
class ChangeWebhookKeys(ManifestStep):
    """Create and drop signing keys for the sender of a webhook.

    `adds` is the ID of the key to create, and `drops` are those of the keys to drop. `made` is when
    each key that stays was made, by ID. `uid` and `resource_version` are of the observed Secret,
    empty if there is none.
    """

    uid: str
    resource_version: str
    scheme: SchemeName
    adds: str
    drops: tuple[str, ...]
    made: Mapping[str, datetime]


@dataclass(frozen=True, slots=True)
class CompileEndpoint(ManifestStep):
    """Write an endpoint's configuration for its gateway: a document and keys of Secret `source`.

    `keys` are the fingerprints of the keys to copy, by ID. `listed` is the fingerprint of what the
    target has listed for at least the propagation delay, otherwise empty.
    """

    document: str = field(repr=False)
    source: Ref | None
    keys: Mapping[str, str]
    listed: str

    def is_done(self, world: World) -> bool:
        """Return whether the observed configuration matches."""
        _, ref = self.target
        known = world.webhooks.compiled.get(ref)
        return known is not None and self.matches(known)

    def matches(self, known: CompiledSecret) -> bool:
        """Return whether a written configuration equals this one."""
        labels = self.manifest["metadata"]["labels"]
        return (
            known.intact
            and all(known.labels.get(name) == value for name, value in labels.items())
            and known.document == self.document
            and known.keys == self.keys
            and known.listed == self.listed
        )
