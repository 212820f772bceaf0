"""Index of the ConfigMaps with schemas of messages."""

from collections.abc import Mapping

from troth.resources.messaging.schemas.schema_text import MOST_BYTES
from troth.resources.messaging.topic_policy import TopicPolicy
from troth.resources.references import Ref
from troth.trust.declarations.topics.messaging import Messaging
from troth.world.facts.objects import Manifest
from troth.world.keys import Keys, identity_key, policy_key
from troth.world.watch_class import SCHEMA


class Schemas:
    """Schemas in labelled ConfigMaps, by ConfigMap and key.

    None replaces a text that is longer than a schema may be. A value of `binaryData` is its base64,
    the form in which a schema has a Protobuf descriptor set.
    """

    def __init__(self) -> None:
        self.by_ref: dict[Ref, Mapping[str, str | None]] = {}

    def of(self, policy: TopicPolicy) -> Mapping[str, str | None] | None:
        """Return the texts of the ConfigMap that a policy names, None if there is none."""
        return self.by_ref.get(policy.schema_map) if policy.schema_map is not None else None

    def take(self, ref: Ref, manifest: Manifest | None, messaging: Messaging) -> Keys:
        """Take in the current state of a ConfigMap; return the policies that use it, and their
        identities.

        Texts that no policy could use are not kept.
        """
        before = self.by_ref.pop(ref, None)
        labels = (manifest["metadata"].get("labels") or {}) if manifest is not None else {}
        if manifest is not None and SCHEMA in labels:
            self.by_ref[ref] = {
                key: text if len(text.encode("utf-8", "surrogatepass")) <= MOST_BYTES else None
                for field in ("data", "binaryData")
                for key, text in (manifest.get(field) or {}).items()
            }
        if before == self.by_ref.get(ref):
            return set()
        policies = messaging.with_schema_in(ref)
        named = {each.identity for policy in policies for each in messaging.entries(policy)}
        return {*map(policy_key, policies), *map(identity_key, named)}
