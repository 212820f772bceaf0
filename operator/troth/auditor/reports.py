"""Writes reports to the API that the cluster serves.

openreports.io counts where both APIs are served; reports that the auditor wrote to the other one
are deleted. The existing reports are listed at the start, after each change of the served APIs,
after a failure, and with each whole evaluation. In between they are what the auditor wrote.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime

import structlog

from troth.audit.evaluation import Evaluation
from troth.audit.reports.changes import (
    Change,
    Reported,
    Verb,
    first_seen,
    is_managed,
    report_changes,
)
from troth.audit.reports.documents import (
    OPENREPORTS,
    WGPOLICY,
    ReportAPI,
    connections_unseen,
    not_written,
    reports,
)
from troth.auditor.kinds import is_served
from troth.cluster.api import ApiServer
from troth.cluster.denials import logged
from troth.cluster.discovery import Served
from troth.cluster.errors import ApiError
from troth.cluster.selection import Selection
from troth.resources.references import Ref
from troth.world.facts.objects import MANAGED_BY, Manifest

APIS = (OPENREPORTS, WGPOLICY)
"""APIs of reports, the preferred one first."""
CONFLICT, NOT_FOUND = 409, 404

_Reports = dict[tuple[str, Ref], Manifest]
_OWN: Manifest = {"metadata": {"labels": {MANAGED_BY: "troth"}}}

log = structlog.get_logger()


class ReportWriter:
    """Keeps the reports of one cluster equal to the last evaluation."""

    def __init__(self, server: ApiServer, on_failure: Callable[[str], None]) -> None:
        """`on_failure` gets the kind of a report that could not be read or written."""
        self._server = server
        self._on_failure = on_failure
        self._apis: tuple[ReportAPI, ...] | None = None
        self._existing: _Reports | None = None

    @property
    def api(self) -> ReportAPI | None:
        """The API that is written, None if the cluster serves none."""
        return self._apis[0] if self._apis else None

    def take_served(self, api: Served) -> bool:
        """Take in what the API server serves; return whether the APIs of reports changed."""
        now = tuple(
            each for each in APIS if is_served(each.kind, api) and is_served(each.cluster_kind, api)
        )
        if now == self._apis:
            return False
        self._apis, self._existing = now, None
        if self.api is None:
            log.warning(
                "no API of reports is served; findings are in statuses, Events and metrics alone",
                apis=[each.api_version for each in APIS],
            )
        else:
            log.info("reports are written", api=self.api.api_version)
        return True

    async def first_seen(self, now: datetime) -> Reported | None:
        """Return since when existing reports have each finding, None if they cannot be read."""
        try:
            return first_seen((await self._read()).values(), now)
        except ApiError as error:
            self._failed(self.api.kind if self.api else "Report", "reports not read", error)
            return None

    async def write(
        self,
        evaluation: Evaluation,
        seen: dict[str, datetime],
        now: datetime,
        *,
        whole: bool,
        blind: Sequence[str] = (),
    ) -> bool:
        """Write what differs; return whether all of it is written.

        With `whole` it first lists what exists. `blind` are the nodes whose connections could not
        be read, each with the reason.
        """
        if whole:
            self._existing = None
        if self.api is None:
            return True
        api = self.api
        try:
            existing = await self._read()
        except ApiError as error:
            self._failed(api.kind, "reports not read", error)
            return False
        of_namespaces = {each.kind for each in APIS}
        about_audit = [connections_unseen(blind)] if blind else []
        wanted = reports(evaluation, now, api, seen, about_audit)
        local = [each for each in wanted if each["kind"] in of_namespaces]
        done = await self._change(local, existing, of_namespaces)
        foreign = [
            place
            for place in map(Ref.of, local)
            if not is_managed(existing.get((api.kind, place), _OWN))
        ]
        if foreign:
            about_audit.append(not_written(api, foreign))
            wanted = reports(evaluation, now, api, seen, about_audit)
        of_cluster = [each for each in wanted if each["kind"] not in of_namespaces]
        done &= await self._change(of_cluster, existing, {each.cluster_kind for each in APIS})
        if not done:
            self._existing = None
        return done

    async def _change(
        self, wanted: Iterable[Manifest], existing: _Reports, kinds: Collection[str]
    ) -> bool:
        """Make the existing reports of some kinds the wanted ones; return whether all are."""
        before = [each for (kind, _), each in existing.items() if kind in kinds]
        done = True
        for change in report_changes(wanted, before):
            done &= await self._carry_out(change, existing)
        return done

    async def _read(self) -> _Reports:
        """Return the existing reports of all served APIs; raises `ApiError`."""
        if self._existing is None:
            found: _Reports = {}
            for api in self._apis or ():
                for kind in (api.kind, api.cluster_kind):
                    async for page in self._server.pages(
                        Selection(kind, labels=f"{MANAGED_BY}=troth")
                    ):
                        for each in page["items"]:
                            whole = {**each, "apiVersion": api.api_version, "kind": kind}
                            found[kind, Ref.of(whole)] = whole
            self._existing = found
        return self._existing

    async def _carry_out(self, change: Change, existing: _Reports) -> bool:
        """Write one change, and record it in `existing`; return whether that succeeded."""
        report = change.manifest
        place = kind, ref = report["kind"], Ref.of(report)
        try:
            match change.verb:
                case Verb.CREATE:
                    existing[place] = await self._server.apply_new(report)
                case Verb.UPDATE:
                    existing[place] = await self._server.apply(report)
                case Verb.DELETE:
                    await self._server.delete(kind, ref, report["metadata"]["uid"])
                    del existing[place]
                case Verb.CONFLICT:
                    pass  # logged and counted when it was found
        except ApiError as error:
            if change.verb is Verb.DELETE and error.status == NOT_FOUND:
                existing.pop(place, None)
                return True
            if change.verb is Verb.CREATE and error.status == CONFLICT:
                # until the next list, so that it is logged and counted once
                existing[place] = {**report, "metadata": {**report["metadata"], "labels": {}}}
                self._on_failure(kind)
                _log_foreign(kind, ref)
                return True
            self._failed(kind, "report not written", error, report=str(ref))
            return False
        return True

    def _failed(self, kind: str, what: str, error: ApiError, **about: str) -> None:
        self._on_failure(kind)
        log.warning(what, kind=kind, **about, **logged(error))


def _log_foreign(kind: str, ref: Ref) -> None:
    log.warning(
        "report is not managed by Troth, so it was not changed; rename or delete it",
        kind=kind,
        report=str(ref),
    )
