"""The world: takes in objects, and returns the keys of the resources that must be planned again.

Informers and the answers to Troth's own writes feed it with raw objects; planning reads it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

from troth.resources.kinds import KIND_BY_NAME
from troth.resources.references import Ref
from troth.world.change import Change
from troth.world.facts.objects import UNREADABLE, Manifest
from troth.world.handlers.declared import (
    take_broker,
    take_endpoint,
    take_rotation,
    take_topic_policy,
)
from troth.world.handlers.deletion import take_metadata
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
from troth.world.handlers.review import take_review
from troth.world.handlers.secret import take_given, take_secret
from troth.world.handlers.service_identity import take_identity
from troth.world.handlers.trust_domain import take_domain
from troth.world.handlers.webhook_endpoint import around_shares
from troth.world.index.workloads import BUDGET, KINDS
from troth.world.invalidation import everything, invalidate
from troth.world.keys import METADATA_OF, Key, Keys, view_key
from troth.world.origin import origin
from troth.world.outcomes.outcome import Outcome
from troth.world.quarantine import quarantined, withdraw
from troth.world.state import WorldState
from troth.world.versions import UNKNOWN, Scope, Version
from troth.world.watch_class import GIVEN, REPORTS, SCHEMAS, other_watch_classes, watch_class_of

Handler = Callable[[WorldState, Change], Keys]

WITHDRAWALS = 2
"""Number of attempts to withdraw a declaration whose handler fails; the first may be incomplete."""

HANDLERS: dict[str, Handler] = {
    "TrustDomain": take_domain,
    "ServiceIdentity": take_identity,
    "MessageBroker": take_broker,
    "TopicPolicy": take_topic_policy,
    "CredentialRotation": take_rotation,
    "WebhookEndpoint": take_endpoint,
    "DeadLetterReview": take_review,
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
    **dict.fromkeys(KINDS, take_workload),
    **dict.fromkeys(METADATA_OF.values(), take_metadata),
}
"""What takes a change in, by watch class."""


class Difference(StrEnum):
    """Difference between the world and a list of the API server.

    GHOST: the world has a deleted object. MISSING: it lacks an existing one. STALE: it has an older
    version. NEWER: it has a later version than the list, though the list was made after it, so the
    API server's store went back in time.
    """

    GHOST = "Ghost"
    MISSING = "Missing"
    STALE = "Stale"
    NEWER = "Newer"


@dataclass(slots=True)
class World(WorldState):
    """State of the world, with the methods that change it."""

    # Changes

    def observe(self, manifest: Manifest, uptime: float) -> Keys:
        """Take in an object as the API server has it; return what must be looked at again.

        `uptime` is when, in seconds on the process's monotonic clock.

        An object that is not newer than the one known, such as the echo of a write whose answer
        was taken in already, changes nothing. Nor does one that is known to be gone since.
        """
        if not self.is_news(manifest):
            return set()
        kind, ref, version = self._place(manifest)
        before = self._versions.get(kind, ref)
        affected: Keys = set()
        if before is not None and before.is_namesake(version.uid):
            # nothing known of the other holds for this one
            affected = self._taken(Change(kind, ref, None, uptime))
        self._versions.note(kind, ref, version)
        self.foreign.pop((kind, ref), None)
        self.refused.pop((kind, ref), None)
        affected |= self._taken(Change(kind, ref, manifest, uptime))
        for other in other_watch_classes(manifest, kind):
            if self.knows(other, ref):
                affected |= self.forget(other, ref, version.number, uptime)
        return affected

    def forget(self, kind: str, ref: Ref, version: int, uptime: float) -> Keys:
        """Take in that an object was gone at a resource version; return what to look at again.

        An object that is known at a later version was created again, and stays. A tombstone keeps
        older observations that arrive later from restoring the object.
        """
        known = self._versions.get(kind, ref)
        if known is not None and known.number > version:
            return set()
        self._versions.bury(kind, ref, version, uptime)
        if known is None:
            return set()
        self._versions.drop(kind, ref)
        if kind == "Namespace":  # its objects are gone too
            there = [place for place in self.foreign if place[1].namespace == ref.name]
            for place in there:
                del self.foreign[place]
        return self._taken(Change(kind, ref, None, uptime))

    def forget_uid(self, kind: str, ref: Ref, uid: str, uptime: float) -> Keys:
        """Take in that the object with a UID is deleted for good; a namesake made since stays.

        The answer of the API server that says so has no resource version, so the tombstone has the
        UID.
        """
        self._versions.bury_uid(uid, uptime)
        known = self._versions.get(kind, ref)
        if known is None or known.is_namesake(uid):
            return set()
        return self.forget(kind, ref, known.number, uptime)

    def note_list(self, scope: Scope, version: int) -> None:
        """Record that every object of a scope is known as in the list at a resource version."""
        self._versions.note_list(scope, version)

    # Comparison

    def is_news(self, manifest: Manifest) -> bool:
        """Return whether an object is newer than the known one, and not known to be deleted."""
        kind, ref, version = self._place(manifest)
        return self._versions.is_news(kind, ref, version, other_watch_classes(manifest, kind))

    def is_past(self, manifest: Manifest, at: int) -> bool:
        """Return whether an object in a list at a resource version is older than it was by then.

        In one history that is impossible: the API server's store was restored from a snapshot.
        """
        kind, ref, version = self._place(manifest)
        beside = other_watch_classes(manifest, kind)
        return self._versions.is_past(kind, ref, version, at, beside)

    def is_unlisted(self, manifest: Manifest) -> bool:
        """Return whether the answer to a write is late: a later list did not have the object."""
        return self._versions.is_unlisted(*self._place(manifest))

    def knows(self, kind: str, ref: Ref) -> bool:
        """Return whether an object exists, as far as is known."""
        return self._versions.get(kind, ref) is not None

    def was_deleted(self, manifest: Manifest) -> bool:
        """Return whether an object of this name was deleted lately, as far as is known."""
        kind, ref, _ = self._place(manifest)
        return self._versions.gone_at(kind, ref) != UNKNOWN

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
        if listed is None:
            return Difference.GHOST
        return Difference.NEWER if known.number > listed.number else Difference.STALE

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

    def observe_outcome(self, outcome: Outcome) -> Keys:
        """Take in what I/O came to, which no watch reports; return what must be planned again."""
        affected = outcome.take(self)
        affected |= self.brokers.leaving_with(affected)
        return affected | self.rotations.concerned(affected)

    # Everything

    def everything(self) -> Keys:
        """Return the key of every known resource."""
        return everything(self)

    def _taken(self, change: Change) -> Keys:
        """Take in an object, None if it was deleted; quarantine it if it is unreadable."""
        place, manifest = (change.kind, change.ref), change.manifest
        self.quarantined.pop(place, None)
        because = manifest.get(UNREADABLE) if manifest is not None else None
        if manifest is not None and because is not None:
            self.quarantined[place] = str(because)
            change = replace(change, manifest=quarantined(manifest, str(because)))
        try:
            return self._applied(change)
        except Exception as error:  # noqa: BLE001 - one object must not stop the others
            return self._recovered(change, origin(error))

    def _recovered(self, change: Change, error: str) -> Keys:
        """Put an object into quarantine whose handler failed; return everything.

        The handler may have taken in a part of the object. So the object is taken in again in a
        form that grants nothing, which replaces or removes every part. If the handler fails again,
        what the resource declares is removed from the indexes directly. Cached results are dropped,
        and every resource is planned again.
        """
        kind, ref, manifest = change.kind, change.ref, change.manifest
        verb = "read" if manifest is not None else "forget"
        because = f"Troth failed to {verb} the object ({error}); please report this as a bug"
        self.quarantined[kind, ref] = because
        instead = quarantined(manifest, because) if manifest is not None else None
        attempts: list[Callable[[WorldState, Change], object]] = [HANDLERS[kind]]
        attempts += [withdraw] * WITHDRAWALS
        for attempt in attempts:
            try:
                attempt(self, replace(change, manifest=instead))
            except Exception:  # noqa: BLE001, S112 - the first error is told of
                continue
            break
        self.grants.clear()
        self.memo.clear()
        self.tokens.entries.clear()
        gone = {Key(kind, ref), view_key(ref.name)} if kind == "TrustDomain" else {Key(kind, ref)}
        return self.everything() | (gone if kind in KIND_BY_NAME else set())

    def _applied(self, change: Change) -> Keys:
        revision = self.registry.revision
        affected = HANDLERS[change.kind](self, change) | around_shares(self.registry)
        redeclared = self.registry.revision != revision
        return invalidate(self, change.kind, change.ref, affected, redeclared=redeclared)
