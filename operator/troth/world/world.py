"""The world: facts in memory, and who must be looked at again when one of them changes.

Fed with raw objects by the informers and by the answers to Troth's own writes, read by planning.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from troth.resources.references import Ref
from troth.trust.narrowing import Narrowing
from troth.world.affected import views_of
from troth.world.facts import Manifest
from troth.world.keys import Keys, identity_key, policy_key
from troth.world.known import Known
from troth.world.known_as import GIVEN, REPORTS, SCHEMAS, known_as, others_beside
from troth.world.taking_declared import take_broker, take_endpoint, take_rotation, take_topic_policy
from troth.world.taking_domains import take_domain
from troth.world.taking_identities import take_identity
from troth.world.taking_namespaces import take_namespace
from troth.world.taking_objects import (
    take_api_endpoints,
    take_budget,
    take_config_map,
    take_network_policy,
    take_report,
    take_schemas,
    take_service,
    take_workload,
)
from troth.world.taking_secrets import take_given, take_secret
from troth.world.workloads import BUDGET, KINDS

Take = Callable[[Known, Ref, Manifest | None], Keys]

TAKES: dict[str, Take] = {
    "TrustDomain": take_domain,
    "ServiceIdentity": take_identity,
    "MessageBroker": take_broker,
    "TopicPolicy": take_topic_policy,
    "CredentialRotation": take_rotation,
    "WebhookEndpoint": take_endpoint,
    "Namespace": take_namespace,
    "Service": take_service,
    "EndpointSlice": take_api_endpoints,
    "Secret": take_secret,
    "ConfigMap": take_config_map,
    SCHEMAS: take_schemas,
    REPORTS: take_report,
    GIVEN: take_given,
    "NetworkPolicy": take_network_policy,
    BUDGET: take_budget,
}


@dataclass(slots=True)
class World(Known):
    """Everything that planning may know."""

    _versions: dict[tuple[str, Ref], int] = field(default_factory=dict)

    def observe(self, manifest: Manifest) -> Keys:
        """Take in an object as the API server has it; return what must be looked at again.

        An object that is not newer than the one known, such as the echo of a write whose answer
        was taken in already, changes nothing.
        """
        if not self.is_news(manifest):
            return set()
        kind, ref = known_as(manifest, self.own_namespace), Ref.of(manifest)
        self._versions[kind, ref] = _version(manifest)
        self.foreign.pop((kind, ref), None)
        self.refused.pop((kind, ref), None)
        affected = self._taken(kind, ref, manifest)
        for other in others_beside(manifest, kind):
            affected |= self.forget(other, ref, _version(manifest))
        return affected

    def forget(self, kind: str, ref: Ref, version: int) -> Keys:
        """Take in that an object was gone at a resource version; return what to look at again.

        An object that is known at a later version was made anew since, and stays.
        """
        known = self._versions.get((kind, ref))
        if known is None or known > version:
            return set()
        del self._versions[kind, ref]
        return self._taken(kind, ref, None)

    def forget_written(self, kind: str, ref: Ref) -> Keys:
        """Take in that Troth itself deleted an object."""
        return self.forget(kind, ref, self._versions.get((kind, ref), -1))

    def is_news(self, manifest: Manifest) -> bool:
        """Say whether an object is newer than the one known."""
        version = _version(manifest)
        place = known_as(manifest, self.own_namespace), Ref.of(manifest)
        return not version or version > self._versions.get(place, -1)

    def knows(self, kind: str, ref: Ref) -> bool:
        """Say whether there is an object, as far as is known."""
        return (kind, ref) in self._versions

    def note_foreign(self, kind: str, ref: Ref, now: datetime) -> None:
        """Note that an object of a wanted name exists which Troth does not own."""
        self.foreign[kind, ref] = now

    def _taken(self, kind: str, ref: Ref, manifest: Manifest | None) -> Keys:
        revision = self.registry.revision
        affected = self._take(kind)(ref, manifest)
        return self._spread(kind, ref, affected, redeclared=self.registry.revision != revision)

    def note_unapplied(self, ref: Ref, narrowing: Narrowing | None) -> Keys:
        """Note which narrowing of an identity's `identity.json` cannot be written, None for none.

        Return what must be looked at again, nothing where that was known.
        """
        if not self.registry.note_unapplied(ref, narrowing):
            return set()
        affected = {identity_key(each) for each in (ref, *self.registry.neighbours(ref))}
        return self._spread("ServiceIdentity", ref, affected, redeclared=True)

    def _spread(self, kind: str, ref: Ref, affected: Keys, *, redeclared: bool) -> Keys:
        """Return whom a change concerns, beside whom it does directly."""
        if redeclared:
            affected |= views_of(self.registry, affected)
            if kind != "WebhookEndpoint":  # no endpoint depends on another
                affected |= self.webhooks.around(kind, ref, affected)
            for named in affected:
                self.tokens.entries.pop(named.ref, None)
        affected |= self.brokers.leaving_with(affected)
        # of a policy itself its own status is no news; see where it is taken in
        others = affected - {policy_key(ref)} if kind == "TopicPolicy" else affected
        self.judged.forget(key.ref for key in others if key.kind == "TopicPolicy")
        return affected | self.rotations.concerned(affected)

    def _take(self, kind: str) -> Callable[[Ref, Manifest | None], Keys]:
        if kind in KINDS:
            return partial(take_workload, self, kind)
        return partial(TAKES[kind], self)


def _version(manifest: Manifest) -> int:
    return int(manifest["metadata"].get("resourceVersion") or 0)
