"""The world: takes in objects, and returns the keys of the resources that must be planned again.

Informers and the answers to Troth's own writes feed it with raw objects; planning reads it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import partial

from troth.resources.kinds import KIND_BY_NAME
from troth.resources.references import Ref
from troth.trust.narrowing import Narrowing
from troth.world.facts.objects import UNREADABLE, Manifest
from troth.world.handlers.declared import (
    take_broker,
    take_endpoint,
    take_rotation,
    take_topic_policy,
)
from troth.world.handlers.namespace import take_namespace
from troth.world.handlers.objects import (
    take_api_endpoints,
    take_budget,
    take_config_map,
    take_network_policy,
    take_report,
    take_schemas,
    take_service,
    take_workload,
)
from troth.world.handlers.secret import take_given, take_secret
from troth.world.handlers.service_identity import take_identity
from troth.world.handlers.trust_domain import take_domain
from troth.world.index.rotations import rotation_key
from troth.world.index.workloads import BUDGET, KINDS
from troth.world.invalidation import affected_views
from troth.world.keys import Key, Keys, domain_key, identity_key, policy_key, view_key
from troth.world.origin import origin
from troth.world.quarantine import quarantined, withdraw
from troth.world.state import WorldState
from troth.world.versions import Scope, Version, Versions
from troth.world.watch_class import GIVEN, REPORTS, SCHEMAS, other_watch_classes, watch_class_of

Take = Callable[[WorldState, Ref, Manifest | None], Keys]

WITHDRAWALS = 2
"""Number of attempts to withdraw a declaration whose handler fails; the first may be incomplete."""

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


class Difference(StrEnum):
    """Difference between the world and a list of the API server.

    GHOST: the world has a deleted object. MISSING: it lacks an existing one. STALE: it has another
    version.
    """

    GHOST = "Ghost"
    MISSING = "Missing"
    STALE = "Stale"


@dataclass(slots=True)
class World(WorldState):
    """State of the world, with the methods that change it."""

    _versions: Versions = field(default_factory=Versions)

    # Changes

    def observe(self, manifest: Manifest) -> Keys:
        """Take in an object as the API server has it; return the affected keys.

        An object that is not newer than the known one changes nothing, such as the echo of a write
        whose answer was taken in already. The same holds for one that is known to be deleted since.
        """
        if not self.is_news(manifest):
            return set()
        kind, ref, version = self._place(manifest)
        before = self._versions.get(kind, ref)
        affected: Keys = set()
        if before is not None and before.is_namesake(version.uid):
            affected = self._taken(kind, ref, None)  # a namesake inherits nothing
        self._versions.note(kind, ref, version)
        self.foreign.pop((kind, ref), None)
        self.refused.pop((kind, ref), None)
        affected |= self._taken(kind, ref, manifest)
        for other in other_watch_classes(manifest, kind):
            if self.knows(other, ref):
                affected |= self.forget(other, ref, version.number)
        return affected

    def forget(self, kind: str, ref: Ref, version: int) -> Keys:
        """Take in that an object was gone at a resource version; return the affected keys.

        An object that is known at a later version was created again, and stays. A tombstone keeps
        older observations that arrive later from restoring the object.
        """
        known = self._versions.get(kind, ref)
        if known is not None and known.number > version:
            return set()
        self._versions.bury(kind, ref, version, self.uptime)
        if known is None:
            return set()
        self._versions.drop(kind, ref)
        if kind == "Namespace":  # its objects are gone too
            there = [place for place in self.foreign if place[1].namespace == ref.name]
            for place in there:
                del self.foreign[place]
        return self._taken(kind, ref, None)

    def forget_written(self, kind: str, ref: Ref, uid: str) -> Keys:
        """Take in that Troth deleted an object; a later object of the same name stays.

        The answer to a deletion has no resource version, so the tombstone has the UID.
        """
        self._versions.bury_uid(uid, self.uptime)
        known = self._versions.get(kind, ref)
        if known is None or known.is_namesake(uid):
            return set()
        return self.forget(kind, ref, known.number)

    def note_list(self, scope: Scope, version: int) -> None:
        """Record that every object of a scope is known as in the list at a resource version."""
        self._versions.note_list(scope, version)

    # Comparison

    def is_news(self, manifest: Manifest) -> bool:
        """Return whether an object is newer than the known one, and not known to be deleted."""
        kind, ref, version = self._place(manifest)
        return self._versions.is_news(kind, ref, version, other_watch_classes(manifest, kind))

    def is_unlisted(self, manifest: Manifest) -> bool:
        """Return whether the answer to a write is late: a later list did not have the object."""
        return self._versions.is_unlisted(*self._place(manifest))

    def knows(self, kind: str, ref: Ref) -> bool:
        """Return whether an object exists, as far as is known."""
        return self._versions.get(kind, ref) is not None

    def is_leaving(self, kind: str, ref: Ref) -> bool:
        """Return whether an object is being deleted and has finalizers."""
        known = self._versions.get(kind, ref)
        return known is not None and known.leaving

    def known(self, scope: Scope) -> set[Ref]:
        """Return every known object of a scope."""
        return {ref for ref in self._versions.of(scope.watch_class) if scope.covers(ref)}

    def difference(self, kind: str, ref: Ref, listed: Version | None, at: int) -> Difference | None:
        """Return how an object differs from a list at a resource version, None if it does not.

        State that is newer than the list is not compared.
        """
        known = self._versions.get(kind, ref)
        if known is None:
            dead = listed is not None and self._versions.is_dead(listed.uid)
            gone = listed is None or dead or self._versions.gone_at(kind, ref) > at
            return None if gone else Difference.MISSING
        if known.number > at or known == listed:
            return None
        return Difference.GHOST if listed is None else Difference.STALE

    def distrust(self, manifest: Manifest) -> None:
        """Make the next observation of an object count, whatever version is known."""
        kind, ref, version = self._place(manifest)
        self._versions.unbury(kind, ref, version.uid)
        known = self._versions.get(kind, ref)
        if known is not None:
            self._versions.note(kind, ref, known._replace(number=0))

    def _place(self, manifest: Manifest) -> tuple[str, Ref, Version]:
        kind = watch_class_of(manifest, self.own_namespace)
        return kind, Ref.of(manifest), Version.of(manifest)

    # Other state

    def note_foreign(self, kind: str, ref: Ref, now: datetime) -> None:
        """Record that a foreign object of a wanted name exists."""
        self.foreign[kind, ref] = now

    def everything(self) -> Keys:
        """Return the key of every known resource."""
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
        """Take in an object, None if it was deleted; quarantine it if it is unreadable."""
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
        """Quarantine an object whose handler failed; return all keys.

        The handler may have taken in a part of the object. So the object is taken in again in a
        form that grants nothing, which replaces or removes every part. If the handler fails again,
        what the resource declares is removed from the indexes directly. Cached results are dropped,
        and every resource is planned again.
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
            except Exception:  # noqa: BLE001, S112 - the first error is reported
                continue
            break
        self.grants.clear()
        self.memo.clear()
        self.tokens.entries.clear()
        gone = {Key(kind, ref), view_key(ref.name)} if kind == "TrustDomain" else {Key(kind, ref)}
        return self.everything() | (gone if kind in KIND_BY_NAME else set())

    def _applied(self, kind: str, ref: Ref, manifest: Manifest | None) -> Keys:
        revision = self.registry.revision
        affected = self._take(kind)(ref, manifest)
        return self._spread(kind, ref, affected, redeclared=self.registry.revision != revision)

    def note_unapplied(self, ref: Ref, narrowing: Narrowing | None) -> Keys:
        """Set the narrowing of an identity's `identity.json` that cannot be written; None for none.

        Return the affected keys, none if it is unchanged.
        """
        if not self.registry.note_unapplied(ref, narrowing):
            return set()
        affected = {identity_key(each) for each in (ref, *self.registry.neighbours(ref))}
        return self._spread("ServiceIdentity", ref, affected, redeclared=True)

    def _spread(self, kind: str, ref: Ref, affected: Keys, *, redeclared: bool) -> Keys:
        """Return the keys that a change affects in addition to `affected`."""
        if redeclared:
            affected |= affected_views(self.registry, affected)
            if kind != "WebhookEndpoint":  # endpoints do not depend on each other
                affected |= self.webhooks.around(kind, ref, affected)
            for named in affected:
                self.tokens.entries.pop(named.ref, None)
        affected |= self.brokers.leaving_with(affected)
        # a change of a policy's own status affects nothing; see its handler
        others = affected - {policy_key(ref)} if kind == "TopicPolicy" else affected
        self.grants.forget(key.ref for key in others if key.kind == "TopicPolicy")
        return affected | self.rotations.concerned(affected)

    def _take(self, kind: str) -> Callable[[Ref, Manifest | None], Keys]:
        if kind in KINDS:
            return partial(take_workload, self, kind)
        return partial(TAKES[kind], self)
