"""Check that the installed CRDs have every field that this version of Troth reads and writes.

The API server removes fields that a CRD does not have, from what users declare and from what Troth
writes, and an object does not show what was removed. A removed restriction would widen what is
declared, and a removed status is memory that Troth relies on. So Troth waits for its CRDs before it
reads anything, and ends if they become older while it runs: the API server ends the watches of a
changed CRD, and objects that are read afterwards can lack fields.
"""

import asyncio
from collections.abc import Mapping
from typing import Protocol

import structlog

from troth.cluster.denials import FORBIDDEN, denial
from troth.cluster.errors import ApiError
from troth.cluster.selection import Selection
from troth.cluster.watching.backoff import Backoff
from troth.resources.kinds import KIND_BY_NAME, KINDS, Kind
from troth.resources.metadata import GROUP, VERSION
from troth.resources.references import Ref
from troth.resources.schema.fields import fields_of_crd, fields_of_resource, missing
from troth.world.facts.objects import Manifest

CRD = "CustomResourceDefinition"
NOT_FOUND = 404
LONGEST_WAIT = 10.0
"""Maximum seconds between two checks while Troth waits."""
LOADING = 5.0
"""Seconds for which API servers may still serve an updated CRD in its earlier form."""
ROLES_LOAD = 300.0
"""Seconds for which an API server that has just started may not know the roles yet."""
NAMED = 5
"""Maximum number of fields that the log names."""
NO_PERMISSION = ("permission to get it",)
UPDATE = "troth crds --apply"
"""Command that installs the CRDs of this version."""

log = structlog.get_logger()


class OutdatedCRDs(Exception):  # noqa: N818 - the name states the fault
    """An installed CRD lacks fields that this version of Troth needs, or cannot be read."""


class Reads(Protocol):
    """API server methods that the check needs."""

    async def get(self, kind: str, ref: Ref) -> Manifest:
        """Return one object."""


class CRDCheck:
    """Compares the installed CRDs with the models. `lacking` has what the last check found."""

    def __init__(self, server: Reads) -> None:
        self._server = server
        self._lacking: dict[str, tuple[str, ...]] = {}
        self._denied = ""

    @property
    def lacking(self) -> Mapping[str, tuple[str, ...]]:
        """What each installed CRD lacks, by its name; empty if it lacks nothing."""
        return self._lacking

    async def wait(self) -> None:
        """Return once every CRD has every field; log what is missing each time that changes."""
        backoff = Backoff(most=LONGEST_WAIT)
        while True:
            lacking = [await self._check(kind) for kind in KINDS]
            if not any(lacking):
                break
            await asyncio.sleep(backoff.next())
        if backoff.failures:
            await asyncio.sleep(LOADING)

    async def confirm(self, selection: Selection) -> None:
        """Check the CRD of a selection whose watch has ended; other kinds need none.

        While the API server does not answer, it asks again. It also does for `ROLES_LOAD` seconds
        if the API server forbids it. Raises `OutdatedCRDs`: without the check, the objects of the
        kind are not read again, and a revocation is not seen.
        """
        kind = KIND_BY_NAME.get(selection.kind)
        if kind is None:
            return
        backoff, waited = Backoff(most=LONGEST_WAIT), 0.0
        while lacks := await self._check(kind):
            if lacks != NO_PERMISSION or waited >= ROLES_LOAD:
                raise OutdatedCRDs(_name(kind))
            pause = backoff.next()
            waited += pause
            await asyncio.sleep(pause)

    async def _check(self, kind: Kind) -> tuple[str, ...]:
        """Return what a CRD lacks, as soon as the API server has answered."""
        name = _name(kind)
        lacks = await self._lacks(kind)
        if lacks != self._lacking.get(name, ()):
            _report(name, lacks, self._denied)
        self._lacking[name] = lacks
        return lacks

    async def _lacks(self, kind: Kind) -> tuple[str, ...]:
        backoff = Backoff(most=LONGEST_WAIT)
        while True:
            try:
                installed = await self._server.get(CRD, Ref("", _name(kind)))
            except ApiError as error:
                if error.status == NOT_FOUND:
                    return ("the CRD itself",)
                if error.status == FORBIDDEN:
                    self._denied = denial(error)
                    return NO_PERMISSION
                await asyncio.sleep(backoff.next())
                continue
            present = fields_of_crd(installed, VERSION)
            return tuple(missing(fields_of_resource(kind.model), present))


def _name(kind: Kind) -> str:
    return f"{kind.plural}.{GROUP}"


def _report(name: str, lacks: tuple[str, ...], denied: str) -> None:
    if not lacks:
        log.info("CRD is up to date", crd=name)
        return
    if lacks == NO_PERMISSION:
        log.error(
            "CRD cannot be read; give the operator the right to get it, as the chart's role does",
            crd=name,
            denied=denied,
        )
        return
    log.error(
        "CRD is older than this version of Troth, which does nothing until the CRD is updated",
        crd=name,
        lacks=list(lacks[:NAMED]),
        more=max(len(lacks) - NAMED, 0),
        run=UPDATE,
    )
