"""Backoff of writes that another client undoes each time.

A repair is a write of what Troth wrote there last, or lately if another client has changed the
object since. The first repairs are immediate. If the object does not stay as written, each further
one waits twice as long as the one before, up to `MOST` seconds, and the world records who changes
the object. A changed declaration is no repair and never waits, and neither does a resource that was
deleted and declared again. Troth does not give up: it restores the object for as long as it is
declared.
"""

from collections import Counter
from collections.abc import Container, Iterable
from dataclasses import dataclass, field

from troth.planning.plan import Plan
from troth.planning.steps.objects import Remove
from troth.planning.steps.step import Step, Target, WriteStep, status_of
from troth.reconcile.drift.field_managers import latest_writers
from troth.reconcile.drift.server_mutations import NAMED, ServerMutations
from troth.reconcile.drift.step_content import content_of, digest, kind_of
from troth.reconcile.runtime.clock import Clock
from troth.resources.references import Ref
from troth.world.facts.objects import Manifest
from troth.world.index.workloads import KINDS
from troth.world.keys import Key, Keys
from troth.world.outcomes.writes import ContestOver, ObjectContested
from troth.world.versions import Version
from troth.world.world import World

FREE = 3
"""Number of repairs of an object that are immediate."""
FIRST, MOST = 1.0, 60.0
"""Shortest and longest wait before a further repair, in seconds."""
QUIET = 300.0
"""Seconds for which an object must stay as written until its repairs are immediate again."""
ROUNDING = 0.001
"""Seconds added to a wait, because a due time is rounded to the clock's resolution."""
LATELY = 3
"""Number of different contents of an object that count as written lately."""
_STATUS = "status"


@dataclass(slots=True)
class _Others:
    """Other clients that were seen to write or delete an object."""

    managers: set[str] = field(default_factory=set)
    deleted: bool = False


@dataclass(slots=True)
class _History:
    """Writes of one object for one resource: the last digests of each kind, and the repairs.

    `at` is the uptime of the last write, and `version` what it made. `altered` are the fields that
    the API server stored otherwise than written. `contested` is the message about who changes the
    object, empty while its repairs are immediate.
    """

    at: float
    version: Version | None = None
    written: dict[str, tuple[bytes, ...]] = field(default_factory=dict)
    repairs: int = 0
    altered: tuple[str, ...] = ()
    contested: str = ""

    @property
    def next_at(self) -> float:
        """Uptime from which the next repair may be written."""
        if self.repairs < FREE:
            return self.at
        return self.at + min(MOST, FIRST * 2.0 ** min(self.repairs - FREE, 16))

    def repeats(self, kind: str, content: bytes, *, changed: bool) -> bool:
        """Return whether a write is a repair; `changed` is whether another client wrote since.

        What Troth writes can depend on what it finds, so a repair may be one of several contents.
        """
        lately = self.written.get(kind, ())
        return content in (lately if changed else lately[-1:])


@dataclass(frozen=True, slots=True)
class Written:
    """One write: a digest of its content, and whether it is a repair.

    `kind` says with which other writes of the object it is compared. `uid` is the resource's.
    """

    key: Key
    uid: str
    target: Target
    kind: str
    content: bytes
    repair: bool


class Repairs:
    """Repairs of the objects that Troth wrote in the last `QUIET` seconds, for each resource."""

    def __init__(self, world: World, clock: Clock, alterations: ServerMutations) -> None:
        self._world = world
        self._clock = clock
        self._alterations = alterations
        self._histories: dict[Key, dict[Target, _History]] = {}
        self._uids: dict[Key, str] = {}
        """UIDs of the resources for which the histories are, empty for a deleted resource."""
        self._others: dict[Target, _Others] = {}
        self._swept_at = clock.uptime()

    # Other clients

    def observe(self, manifest: Manifest) -> None:
        """Take in an object from a watch: who else writes it, if Troth wrote it lately."""
        kind, ref = manifest["kind"], Ref.of(manifest)
        for target, subresource in ((kind, ref), ""), (status_of(Key(kind, ref)), _STATUS):
            others = self._others.get(target)
            if others is not None and len(others.managers) < NAMED:
                others.managers |= latest_writers(manifest, subresource)

    def forget(self, kind: str, ref: Ref) -> None:
        """Take in that an object was deleted."""
        others = self._others.get((kind, ref))
        if others is not None:
            others.deleted = True

    # Steps

    def review(self, plan: Plan, steps: Iterable[Step]) -> bool:
        """Take in the pending steps of a plan; return whether what the world records changed."""
        changed = self._forget_namesake(plan)
        known = self._histories.get(plan.key)
        if not known:
            return changed
        now, pending = self._clock.uptime(), set()
        for step in steps:
            history = known.get(step.target)
            if history is None or not isinstance(step, WriteStep):
                continue
            pending.add(step.target)
            if history.repairs >= FREE and self._repeats(step, history):
                changed |= self._contest(step, history)
        for target, history in list(known.items()):
            if history.contested and target not in pending and now - history.at >= QUIET:
                del known[target]
                changed |= self._end(target)
        return changed

    @property
    def keys(self) -> Keys:
        """Resources for which objects were written lately."""
        return set(self._uids)

    def forget_writes(self, key: Key) -> bool:
        """Forget the writes for a resource; return whether that ends a contest."""
        self._uids.pop(key, None)
        known = self._histories.pop(key, {})
        ended = [self._end(target) for target, history in known.items() if history.contested]
        return any(ended)

    def wait(self, key: Key, step: Step) -> float:
        """Return for how many seconds a step must wait, 0 if it may be carried out."""
        history = self._histories.get(key, {}).get(step.target)
        if history is None or not isinstance(step, WriteStep):
            return 0.0
        left = history.next_at - self._clock.uptime()
        return left + ROUNDING if left > 0 and self._repeats(step, history) else 0.0

    def before(self, plan: Plan, step: WriteStep) -> Written:
        """Return what a step is about to write; `after` records it."""
        content, kind = content_of(step, self._world), kind_of(step)
        history = self._histories.get(plan.key, {}).get(step.target)
        changed = history is not None and self._is_changed(step.target, history)
        repair = history is not None and history.repeats(kind, content, changed=changed)
        return Written(plan.key, plan.uid, step.target, kind, content, repair)

    def after(self, written: Written) -> None:
        """Record that a write was carried out, unless the object there is not Troth's."""
        if written.target in self._world.foreign:
            return
        history = self._note(written)
        history.version = self._world.version(*written.target)

    def _repeats(self, step: WriteStep, history: _History) -> bool:
        kind = kind_of(step)
        if kind not in history.written:  # saves the digest
            return False
        changed = self._is_changed(step.target, history)
        return history.repeats(kind, content_of(step, self._world), changed=changed)

    def _is_changed(self, target: Target, history: _History) -> bool:
        """Return whether another client has written or deleted an object since Troth wrote it."""
        return self._world.version(*target) != history.version

    # Statuses

    def status_wait(self, plan: Plan) -> float:
        """Return for how many seconds a status must wait, 0 if it may be written."""
        history = self._histories.get(plan.key, {}).get(status_of(plan.key))
        if history is None:
            return 0.0
        left = history.next_at - self._clock.uptime()
        return left + ROUNDING if left > 0 and _repeats_status(plan, history) else 0.0

    def status_written(self, plan: Plan) -> str:
        """Record a write of a status; return a sentence once another client keeps changing it.

        The sentence is for an Event, because the status does not stay as written.
        """
        target = status_of(plan.key)
        known = self._histories.get(plan.key, {}).get(target)
        repair = known is not None and _repeats_status(plan, known)
        content = _status_content(plan)
        history = self._note(Written(plan.key, plan.uid, target, _STATUS, content, repair))
        if history.repairs < FREE or history.contested:
            return ""
        history.contested = self._sentence(f"the status of {plan.key}", target, history.altered)
        return history.contested

    # Reports

    def due(self, key: Key, awaited: Container[Target] = ()) -> float | None:
        """Return after how many seconds a contest may be over, None without one.

        It may be over already, if its time ended after `review`. A contest of an object in
        `awaited`, whose write waits for something else, is not over before that write.
        """
        known, now = self._histories.get(key, {}), self._clock.uptime()
        contested = (each for to, each in known.items() if each.contested and to not in awaited)
        ends = (each.at + QUIET - now for each in contested)
        return min((max(left, 0.0) + ROUNDING for left in ends), default=None)

    def of(self, key: Key) -> str:
        """Return why a resource is not Ready because of a contested object, "" if it may be.

        Only `RolledOut` reports workloads.
        """
        contested = (
            history.contested
            for (kind, ref), history in self._histories.get(key, {}).items()
            if (kind, ref) in self._world.contested and kind not in KINDS
        )
        return next(filter(None, contested), "")

    def count(self) -> Counter[str]:
        """Return the number of contested objects of each kind."""
        places = {
            target
            for known in self._histories.values()
            for target, history in known.items()
            if history.contested
        }
        return Counter(kind for kind, _ in places)

    def _note(self, written: Written) -> _History:
        """Add a write to the history of its object."""
        now, target, kind = self._clock.uptime(), written.target, written.kind
        self._sweep(now)
        self._uids[written.key] = written.uid
        history = self._histories.setdefault(written.key, {}).setdefault(target, _History(now))
        self._others.setdefault(target, _Others())
        if written.repair:
            quiet = now - history.at >= QUIET and not history.contested
            history.repairs = 1 if quiet else history.repairs + 1
        if (kind == Remove.__name__) is not (Remove.__name__ in history.written):
            history.written.clear()  # what is declared again, or no longer, is no repair
            self._others[target] = _Others()  # the deletion may have been Troth's own
        others = (each for each in history.written.get(kind, ()) if each != written.content)
        history.written[kind] = (*others, written.content)[-LATELY:]
        history.at = now
        history.altered = self._alterations.take(target)
        return history

    def _contest(self, step: WriteStep, history: _History) -> bool:
        """Record that an object is contested; return whether that is news."""
        kind, ref = step.target
        sentence = self._sentence(
            f"{kind} {ref}", step.target, history.altered, removing=isinstance(step, Remove)
        )
        history.contested = sentence
        if self._world.contested.get(step.target) == sentence:
            return False
        self._world.observe_outcome(ObjectContested(kind, ref, sentence))
        return True

    def _forget_namesake(self, plan: Plan) -> bool:
        """Forget writes for another resource of a plan's name; return whether that is news."""
        if self._uids.get(plan.key, plan.uid) == plan.uid:
            return False
        return self.forget_writes(plan.key)

    def _end(self, target: Target) -> bool:
        """Record that a contest is over; return whether that is news."""
        if not any(target in known for known in self._histories.values()):
            self._others.pop(target, None)
        if target not in self._world.contested:
            return False
        self._world.observe_outcome(ContestOver(*target))
        return True

    def _sweep(self, now: float) -> None:
        """Forget objects that stayed as written; `review` ends contests."""
        if now - self._swept_at < QUIET:
            return
        self._swept_at = now
        for key, known in list(self._histories.items()):
            self._histories[key] = {
                target: history
                for target, history in known.items()
                if history.contested or now - history.at < QUIET
            }
            if not self._histories[key]:
                del self._histories[key], self._uids[key]
        kept = {target for known in self._histories.values() for target in known}
        self._others = {each: others for each, others in self._others.items() if each in kept}

    def _sentence(
        self, what: str, target: Target, altered: tuple[str, ...], *, removing: bool = False
    ) -> str:
        """Return who undoes the writes of an object, and what to do."""
        who, do = self._cause(what, target, altered, removing=removing)
        return (
            f"{who}; {do}. Troth restores the object at most {MOST:.0f} seconds after a change, "
            f"and reports it as settled once it stays unchanged for {QUIET / 60:.0f} minutes"
        )

    def _cause(
        self, what: str, target: Target, altered: tuple[str, ...], *, removing: bool
    ) -> tuple[str, str]:
        """Return who undoes the writes of an object, and what a person does about it."""
        others = self._others.get(target, _Others())
        managers = " and ".join(f'"{name}"' for name in sorted(others.managers)[:NAMED])
        audit = "find the client in the API server's audit log and exclude the object from it"
        if altered:
            who = (
                f"the API server stores {' and '.join(altered[:NAMED])} of {what} otherwise than "
                "Troth writes it, because a mutating admission policy or webhook changes it"
            )
            return who, (
                "find it with `kubectl get mutatingadmissionpolicies,mutatingwebhookconfigurations`"
                " and exempt Troth's ServiceAccount from it"
            )
        if removing:
            who = f"another client creates {what} each time Troth deletes it"
        elif others.deleted and not managers:
            who = f"another client deletes {what} each time Troth writes it"
        elif managers:
            who = f"field manager {managers} changes {what} each time Troth restores it"
        else:
            who = f"another client or an admission webhook changes {what} each time Troth writes it"
        return who, "exclude the object from that client" if managers else audit


def _repeats_status(plan: Plan, history: _History) -> bool:
    """Return whether a status is a repair: the last one was altered, or it is the same again.

    What is planned can depend on what the altered status lacks, so it can differ each time.
    """
    content = _status_content(plan)
    return bool(history.altered) or history.repeats(_STATUS, content, changed=False)


def _status_content(plan: Plan) -> bytes:
    """Return a digest of a status without the times of its transitions.

    A condition that another client removes has a new time whenever Troth adds it again.
    """
    status = plan.status or {}
    undated = [{**each, "lastTransitionTime": ""} for each in status.get("conditions") or ()]
    return digest({**status, "conditions": undated})
