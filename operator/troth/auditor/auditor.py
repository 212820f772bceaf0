"""The auditor: informers fill the scene, rules are evaluated, and what they find is written.

Changes are collected for some seconds, and only the namespaces that they affect are evaluated
again. Every ten minutes all are, because time passes. A single replica runs, without a Lease. Two
that run for a moment write the same reports and statuses; an Event may come twice.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Protocol

import structlog
from prometheus_client import CollectorRegistry

from troth.audit.evaluation import Evaluation, Evaluator
from troth.audit.facts.traffic import Traffic
from troth.audit.finding import Finding
from troth.audit.registry import RULES
from troth.audit.reports.changes import Reported, times_of
from troth.audit.rule import Rule
from troth.audit.scene import Scene
from troth.audit.traffic.verdicts import verdicts
from troth.auditor.cache import SceneCache
from troth.auditor.events import MOST_EVENTS, event, worth_an_event
from troth.auditor.guarded import GuardedRules
from troth.auditor.kinds import SECRETS_NOT_READ, selections
from troth.auditor.metrics import NO_API, Metrics
from troth.auditor.reports import APIS, ReportWriter
from troth.auditor.statuses import Peers, StatusWrite, first_seen_in, status_writes
from troth.auditor.watches import LOOK_EVERY, Watches
from troth.cluster.api import ApiServer
from troth.cluster.denials import logged
from troth.cluster.discovery import Served
from troth.cluster.errors import ApiError, StoreRestored
from troth.world.origin import origin

FIELD_MANAGER = "troth-auditor"
"""Field manager of everything that the auditor writes."""
PAGE = 100
"""Number of objects in a page of a list. Raw pods are large, and only their facts are kept."""
NOT_FOUND, CONFLICT = 404, 409
_SETTLING = 0.2
"""Seconds between two checks whether all kinds are listed."""

log = structlog.get_logger()


class TrafficSource(Protocol):
    """Source of the connections that were seen."""

    async def traffic(self) -> Traffic:
        """Return all traffic that was seen. What could not be read is in `blind`."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Times in seconds."""

    collect: float = 2.0
    """Time for which changes are collected before an evaluation."""
    pause: float = 10.0
    """Minimum time between two evaluations, and at least five times the duration of the last."""
    whole: float = 600.0
    """Time after which everything is evaluated again, because time passes."""
    retry: float = 60.0
    """Time after which a failed write is tried again."""
    traffic: float = 60.0
    """Time between two reads of the traffic."""
    discovery: float = LOOK_EVERY
    """Time between two looks at the kinds that the API server serves."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of an auditor."""

    own_namespace: str
    instance: str
    secret_metadata: bool = False
    timing: Timing = field(default_factory=Timing)
    rules: tuple[Rule, ...] = RULES


@dataclass(frozen=True, slots=True)
class Result:
    """Result of one evaluation, and the statuses to write."""

    evaluation: Evaluation
    new: tuple[Finding, ...]
    """Findings that no status and no report had."""
    statuses: list[StatusWrite]


class Auditor:
    """Audits one cluster until cancelled."""

    def __init__(
        self,
        server: ApiServer,
        settings: Settings,
        *,
        registry: CollectorRegistry | None = None,
        traffic: TrafficSource | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._server = server
        self._settings = settings
        self._source = traffic
        self._now = now
        self.metrics = Metrics(
            registry or CollectorRegistry(),
            settings.rules,
            tuple(each.api_version for each in APIS),
        )
        self._know_nothing()
        self.metrics.read_objects(self._counts)

    def _know_nothing(self) -> None:
        """Make all parts that remember something about the cluster."""
        settings = self._settings
        scene = Scene(settings.own_namespace, now=self._now(), in_cluster=True)
        if not settings.secret_metadata:
            scene.hidden["Secret"] = SECRETS_NOT_READ
            scene.unwanted.add("Secret")
        self.cache = SceneCache(scene)
        self.evaluations = 0
        """Number of evaluations."""
        self.written = False
        """Whether all results of the last evaluation are written."""
        self._restored = asyncio.Event()
        self._rules = GuardedRules(settings.rules)
        self._evaluator = Evaluator(self._rules.rules)
        self._first_seen: dict[str, datetime] = {}
        self._reports_read = False
        """Whether `_first_seen` has the times of the reports that existed at the start."""
        self._peers: Peers | None = None
        self._judged = scene.traffic
        """Traffic that `_peers` is about."""
        self._reports = ReportWriter(self._server, self.metrics.write_failed)
        self.watches = Watches(
            self._server,
            self.cache,
            selections(settings.rules, secret_metadata=settings.secret_metadata),
            on_served=self._take_served,
            on_restored=self._restored.set,
            look_every=settings.timing.discovery,
        )

    @property
    def ready(self) -> bool:
        """Whether a first evaluation has ended."""
        return self.evaluations > 0

    def _counts(self) -> Mapping[str, int]:
        return self.cache.counts()

    async def run(self) -> None:
        """Run until cancelled. If the API server's store was restored, begin again."""
        while True:
            life = asyncio.create_task(self._live(), name="audit")
            try:
                await life
            except* StoreRestored:
                log.warning("the API server's store was restored; beginning again")
            finally:
                life.cancel()
                await asyncio.wait({life})
            self._know_nothing()

    async def _live(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._until_restored())
            tasks.create_task(self.watches.run())
            if self._source is not None:
                tasks.create_task(self._follow_traffic(self._source))
            tasks.create_task(self._evaluate_changes())

    async def _until_restored(self) -> None:
        await self._restored.wait()
        raise StoreRestored

    def _take_served(self, api: Served) -> None:
        if self._reports.take_served(api):
            chosen = self._reports.api
            self.metrics.reports_to(chosen.api_version if chosen else NO_API)
            self.cache.mark(set())

    async def _follow_traffic(self, source: TrafficSource) -> None:
        while True:
            if not self.ready:  # the pods are not known yet, whose addresses traffic has
                await asyncio.sleep(_SETTLING)
                continue
            try:
                seen = await source.traffic()
            except Exception as error:  # noqa: BLE001 - the next read may succeed
                why = f"the traffic could not be read ({origin(error)})"
                log.error("traffic not read", error=origin(error))  # noqa: TRY400
                seen = replace(self.cache.scene.traffic, blind=(why,))
            self.cache.see_traffic(seen)
            await asyncio.sleep(self._settings.timing.traffic)

    # Evaluations

    async def _evaluate_changes(self) -> None:
        timing, clock = self._settings.timing, time.monotonic
        while True:
            if self.watches.settled:
                break
            await asyncio.sleep(min(timing.collect, _SETTLING))
        self.cache.mark(None)
        whole_due = clock()
        while True:
            whole = clock() >= whole_due
            began = clock()
            changed = self.cache.take()
            written = await self.evaluate(None if whole else changed, list_reports=whole)
            if whole:
                whole_due = began + timing.whole
            pause = max(timing.pause, 5 * (clock() - began))
            await asyncio.sleep(pause)
            await self._wait(whole_due if written else min(whole_due, clock() + timing.retry))
            await asyncio.sleep(timing.collect)

    async def _wait(self, until: float) -> None:
        """Wait for a change, or until a time on the monotonic clock."""
        try:
            async with asyncio.timeout(max(0.0, until - time.monotonic())):
                await self.cache.dirty.wait()
        except TimeoutError:
            return

    async def evaluate(self, changed: set[str] | None, *, list_reports: bool = False) -> bool:
        """Evaluate namespaces, all for None; write the results, and return whether all are written.

        With `list_reports` the existing reports are listed again, because others may change them.
        No failure ends the auditor: it is logged, and everything is evaluated again later.
        """
        try:
            return await self._evaluate(changed, list_reports=list_reports)
        except ApiError as error:
            log.warning("evaluation failed", **logged(error))
            self.cache.mark(None)
            return False
        except Exception as error:  # noqa: BLE001 - the next evaluation may succeed
            log.error("evaluation failed", error=origin(error))  # noqa: TRY400
            self.cache.mark(None)
            return False

    async def _evaluate(self, changed: set[str] | None, *, list_reports: bool) -> bool:
        first = self.evaluations == 0
        began, now = time.monotonic(), self._now().replace(microsecond=0)
        reported = {} if self._reports_read else await self._reports.first_seen(now)
        with self.cache.held() as scene:
            scene.now = now
            blind = scene.traffic.blind
            earlier = (reported or {}) | (first_seen_in(scene) if first else {})
            result = await asyncio.to_thread(self._judge, scene, changed, earlier)
        self._reports_read = reported is not None
        self.metrics.evaluated(
            result.evaluation,
            whole=changed is None,
            seconds=time.monotonic() - began,
            at=now.timestamp(),
        )
        self.metrics.watched(blind)
        if changed is None:
            self._log(result.evaluation)
        done = await self._reports.write(
            result.evaluation, self._first_seen, now, whole=list_reports, blind=blind
        )
        for each in result.statuses:
            done &= await self._write_status(each)
        # otherwise nothing says what is new
        if self._reports_read and not (first and self._reports.api is None):
            await self._tell(result.new, now)
        self.evaluations += 1
        self.written = done
        return done

    def _judge(self, scene: Scene, changed: set[str] | None, earlier: Reported) -> Result:
        """Evaluate rules and traffic. It runs in a thread, and nothing else uses the scene.

        `earlier` are the times of findings that others wrote down before this process started.
        """
        if changed is None:
            self._rules.forget()
        evaluation = self._evaluator.evaluate(scene, changed)
        evaluation = replace(evaluation, unseen=(*evaluation.unseen, *self._rules.failures()))
        found = [*evaluation.findings, *(each for each, _ in evaluation.excepted)]
        for each, seen in times_of(_as_old(found, scene, earlier), earlier).items():
            self._first_seen[each] = min(seen, self._first_seen.get(each, seen))
        new = tuple(each for each in evaluation.findings if each.id not in self._first_seen)
        self._first_seen = {each.id: self._first_seen.get(each.id, scene.now) for each in found}
        if scene.traffic.since is None:
            self._peers = None
        elif changed is None or scene.traffic is not self._judged:
            self._peers, self._judged = verdicts(scene), scene.traffic
        statuses = status_writes(scene, evaluation.findings, self._first_seen, self._peers)
        return Result(evaluation, new, statuses)

    # Writes

    async def _write_status(self, write: StatusWrite) -> bool:
        kind, ref = write.object
        try:
            await self._server.apply_status(write.manifest)
        except ApiError as error:
            if error.status in (NOT_FOUND, CONFLICT):  # deleted meanwhile
                return True
            self.metrics.write_failed(f"{kind}/status")
            log.warning("status not written", kind=kind, object=str(ref), **logged(error))
            return False
        return True

    async def _tell(self, new: tuple[Finding, ...], now: datetime) -> None:
        """Post Events about new findings."""
        worth = list(worth_an_event(new))
        if len(worth) > MOST_EVENTS:
            log.warning("more new findings than Events", findings=len(worth), events=MOST_EVENTS)
        for each in worth[:MOST_EVENTS]:
            uid = self.cache.uid(each.subject)
            try:
                await self._server.create(event(each, uid, self._settings.instance, now))
            except ApiError as error:
                self.metrics.write_failed("Event")
                log.warning("event lost", finding=each.id, **logged(error))
            except Exception as error:  # noqa: BLE001 - the other Events are posted
                self.metrics.write_failed("Event")
                log.error("event lost", finding=each.id, error=origin(error))  # noqa: TRY400

    @staticmethod
    def _log(evaluation: Evaluation) -> None:
        """Log how much was found, and what could not be seen."""
        log.info("evaluated", findings=len(evaluation.findings), unseen=len(evaluation.unseen))
        reasons = {(each.reason, each.kinds) for each in evaluation.unseen}
        for reason, kinds in sorted(reasons):
            rules = sorted({each.rule for each in evaluation.unseen if each.reason == reason})
            log.warning("not seen", kinds=list(kinds), why=reason, rules=rules)


def _as_old(found: list[Finding], scene: Scene, earlier: Reported) -> Iterator[Finding]:
    """Yield the findings whose subject, as far as that is known, is as old as an earlier time."""
    for each in found:
        seen = earlier.get((each.subject.ref.namespace, each.id))
        subject = scene.object(*each.subject) or {}
        created = (subject.get("metadata") or {}).get("creationTimestamp")
        if seen and (not created or datetime.fromisoformat(created) <= seen):
            yield each
