"""The world: facts in memory, and who must be looked at again when one of them changes.

Fed with raw objects by the informers and by the answers to Troth's own writes, read by planning.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from troth.resources.kinds import KIND_BY_NAME
from troth.resources.references import Ref
from troth.world.affected import views_of
from troth.world.facts import UNREADABLE, Manifest
from troth.world.keys import Key, Keys, domain_key, identity_key, policy_key, view_key
from troth.world.known import Known
from troth.world.known_as import GIVEN, REPORTS, SCHEMAS, known_as, others_beside
from troth.world.origin import origin
from troth.world.quarantine import quarantined, withdraw
from troth.world.rotations import rotation_key
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

WITHDRAWALS = 2
"""How often a declaration is withdrawn whose handler fails: the first may end in the middle."""

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

    def everything(self) -> Keys:
        """Return the key of every resource that is known."""
        declared = self.registry
        return {
            *map(identity_key, (*declared.identities, *declared.invalid_identities)),
            *map(domain_key, (*declared.domains, *declared.invalid_domains)),
            *map(view_key, (*declared.domains, *declared.invalid_domains)),
            *map(rotation_key, self.rotations.by_ref),
            *self.brokers.everything(),
            *self.webhooks.everything(),
            *self.unreadable,
        }

    def _taken(self, kind: str, ref: Ref, manifest: Manifest | None) -> Keys:
        """Take in an object, or that it is gone; what cannot be read goes into quarantine."""
        self.quarantined.pop((kind, ref), None)
        because = manifest.get(UNREADABLE) if manifest is not None else None
        if manifest is not None and because is not None:
            self.quarantined[kind, ref] = str(because)
            manifest = quarantined(manifest, str(because))
        try:
            return self._applied(kind, ref, manifest)
        except Exception as error:  # noqa: BLE001 - one object must not stop the others
            return self._recovered(kind, ref, manifest, origin(error))

    def _recovered(self, kind: str, ref: Ref, manifest: Manifest | None, error: str) -> Keys:
        """Put an object into quarantine whose handler failed; return everything.

        The handler may have taken in a part of the object. So it is taken in again as one that
        grants nothing, which replaces or removes every part of it. Where the handler fails at that
        too, what a resource declares is taken out of the indexes without asking whom it concerns.
        Nothing that was worked out before counts any more, and every resource is planned again.
        """
        verb = "read" if manifest is not None else "forget"
        because = f"Troth failed to {verb} the object ({error}); please report this as a bug"
        self.quarantined[kind, ref] = because
        instead = quarantined(manifest, because) if manifest is not None else None
        attempts: list[Callable[[Ref, Manifest | None], object]] = [self._take(kind)]
        attempts += [partial(withdraw, self, kind)] * WITHDRAWALS
        for attempt in attempts:
            try:
                attempt(ref, instead)
            except Exception:  # noqa: BLE001, S112 - the first error is told of
                continue
            break
        self.judged.clear()
        self.remembered.clear()
        self.tokens.entries.clear()
        gone = {Key(kind, ref), view_key(ref.name)} if kind == "TrustDomain" else {Key(kind, ref)}
        return self.everything() | (gone if kind in KIND_BY_NAME else set())

    def _applied(self, kind: str, ref: Ref, manifest: Manifest | None) -> Keys:
        revision = self.registry.revision
        affected = self._take(kind)(ref, manifest)
        if self.registry.revision != revision:
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
