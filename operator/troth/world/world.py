"""The world: facts in memory, and who must be looked at again when one of them changes.

Fed with raw objects by the informers and by the answers to Troth's own writes, read by planning.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
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
from troth.world.invalidation import spread
from troth.world.keys import Key, Keys, domain_key, identity_key, view_key
from troth.world.origin import origin
from troth.world.outcomes.outcome import Outcome
from troth.world.quarantine import quarantined, withdraw
from troth.world.state import WorldState
from troth.world.versions import Scope, Version, Versions
from troth.world.watch_class import GIVEN, REPORTS, SCHEMAS, known_as, others_beside

Handler = Callable[[WorldState, Change], Keys]

WITHDRAWALS = 2
"""How often a declaration is withdrawn whose handler fails: the first may end in the middle."""

HANDLERS: dict[str, Handler] = {
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
    **dict.fromkeys(KINDS, take_workload),
}
"""What takes a change in, by watch class."""


class Difference(StrEnum):
    """How the world differs from a list of the API server.

    GHOST: the world knows an object that is gone. MISSING: it does not know one that exists.
    STALE: it knows one at another version.
    """

    GHOST = "Ghost"
    MISSING = "Missing"
    STALE = "Stale"


@dataclass(slots=True)
class World(WorldState):
    """Everything that planning may know."""

    _versions: Versions = field(default_factory=Versions)

    # Feeding

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
        for other in others_beside(manifest, kind):
            if self.knows(other, ref):
                affected |= self.forget(other, ref, version.number, uptime)
        return affected

    def forget(self, kind: str, ref: Ref, version: int, uptime: float) -> Keys:
        """Take in that an object was gone at a resource version; return what to look at again.

        An object that is known at a later version was made anew since, and stays. A tombstone
        keeps what is told later, and is older, from bringing the object back.
        """
        known = self._versions.get(kind, ref)
        if known is not None and known.number > version:
            return set()
        self._versions.bury(kind, ref, version, uptime)
        if known is None:
            return set()
        self._versions.drop(kind, ref)
        if kind == "Namespace":  # with all that is in it
            there = [place for place in self.foreign if place[1].namespace == ref.name]
            for place in there:
                del self.foreign[place]
        return self._taken(Change(kind, ref, None, uptime))

    def forget_written(self, kind: str, ref: Ref, uid: str, uptime: float) -> Keys:
        """Take in that Troth itself deleted an object for good; a namesake made since stays.

        The answer to a deletion has no resource version: the tombstone has the UID.
        """
        self._versions.bury_uid(uid, uptime)
        known = self._versions.get(kind, ref)
        if known is None or known.is_namesake(uid):
            return set()
        return self.forget(kind, ref, known.number, uptime)

    def note_list(self, scope: Scope, version: int) -> None:
        """Note that every object of a scope is known as a list at a resource version has it."""
        self._versions.note_list(scope, version)

    # Comparing

    def is_news(self, manifest: Manifest) -> bool:
        """Say whether an object is newer than the one known, and not known to be gone since."""
        kind, ref, version = self._place(manifest)
        return self._versions.is_news(kind, ref, version, others_beside(manifest, kind))

    def is_unlisted(self, manifest: Manifest) -> bool:
        """Say whether the answer to a write is late: a list since then did not have the object."""
        return self._versions.is_unlisted(*self._place(manifest))

    def knows(self, kind: str, ref: Ref) -> bool:
        """Say whether there is an object, as far as is known."""
        return self._versions.get(kind, ref) is not None

    def is_leaving(self, kind: str, ref: Ref) -> bool:
        """Say whether an object is deleted and waits for its finalizers."""
        known = self._versions.get(kind, ref)
        return known is not None and known.leaving

    def known(self, scope: Scope) -> set[Ref]:
        """Return every known object of a scope."""
        return {ref for ref in self._versions.of(scope.watch_class) if scope.covers(ref)}

    def difference(self, kind: str, ref: Ref, listed: Version | None, at: int) -> Difference | None:
        """Return how an object differs from a list at a resource version, None where it does not.

        What is known of a later moment than the list's says nothing of it.
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
        """Have an object be news whatever is known of it: the API server has it like that."""
        kind, ref, version = self._place(manifest)
        self._versions.unbury(kind, ref, version.uid)
        known = self._versions.get(kind, ref)
        if known is not None:
            self._versions.note(kind, ref, known._replace(number=0))

    def _place(self, manifest: Manifest) -> tuple[str, Ref, Version]:
        kind = known_as(manifest, self.own_namespace)
        return kind, Ref.of(manifest), Version.of(manifest)

    def observe_outcome(self, outcome: Outcome) -> Keys:
        """Take in what I/O came to, which no watch reports; return what must be planned again."""
        return outcome.take(self)

    # Everything

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

    def _taken(self, change: Change) -> Keys:
        """Take in an object, or that it is gone; what cannot be read goes into quarantine."""
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

        The handler may have taken in a part of the object. So it is taken in again as one that
        grants nothing, which replaces or removes every part of it. Where the handler fails at that
        too, what a resource declares is taken out of the indexes without asking whom it concerns.
        Nothing that was worked out before counts any more, and every resource is planned again.
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
        self.judged.clear()
        self.remembered.clear()
        self.tokens.entries.clear()
        gone = {Key(kind, ref), view_key(ref.name)} if kind == "TrustDomain" else {Key(kind, ref)}
        return self.everything() | (gone if kind in KIND_BY_NAME else set())

    def _applied(self, change: Change) -> Keys:
        revision = self.registry.revision
        affected = HANDLERS[change.kind](self, change)
        redeclared = self.registry.revision != revision
        return spread(self, change.kind, change.ref, affected, redeclared=redeclared)
