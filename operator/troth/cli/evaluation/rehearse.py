"""Rehearses manifests: the whole operator against an in-memory API server."""

import copy
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

import structlog

from troth.cli.evaluation.basis import Basis
from troth.cli.inputs.declared import observed
from troth.cli.inputs.sources import check_updates
from troth.reconcile.rehearsal import Place, Rehearsal
from troth.resources.faults import ManifestFault
from troth.resources.kinds import KIND_BY_NAME, UNPLANNED
from troth.resources.manifests import Manifest
from troth.resources.references import Ref
from troth.trust.declarations.watched import Watched
from troth.trust.edges.declared import all_edges
from troth.trust.edges.evaluation import Edge
from troth.world.watch_class import SCHEMA
from troth.world.world import World

_UNPLANNED = frozenset(kind.name for kind in UNPLANNED)


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """The state before manifests are applied, and the one that the operator then reaches."""

    basis: Basis
    now: datetime
    start: dict[Place, Manifest] = field(repr=False)
    """The objects before."""
    objects: dict[Place, Manifest] = field(repr=False)
    """The objects after, with their statuses."""
    before: World
    """What is declared before."""
    after: World
    earlier: World
    """What is declared before, or in the manifests to compare with."""
    edges_before: tuple[Edge, ...]
    edges: tuple[Edge, ...]
    """All edges that are declared after."""
    update_faults: tuple[ManifestFault, ...]
    """Changes of immutable fields, which an API server would reject."""


async def rehearse(basis: Basis, now: datetime) -> Rehearsed:
    """Apply the manifests to a copy of the objects and run the operator until it is done."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    rehearsal = Rehearsal(basis.before)
    start = copy.deepcopy(rehearsal.objects)
    before = _declared(start.values(), basis.watched)
    for manifest in basis.manifests.objects:
        if manifest["kind"] not in _UNPLANNED:
            rehearsal.put(manifest)
    engine = await rehearsal.converge(basis.own_namespace, now, basis.watched)
    return Rehearsed(
        basis,
        now,
        start,
        rehearsal.objects,
        before,
        after=engine.world,
        earlier=_earlier(start, basis) if basis.against else before,
        edges_before=all_edges(before.registry, now),
        edges=all_edges(engine.world.registry, now),
        update_faults=tuple(check_updates(start, basis.manifests)),
    )


def _earlier(start: dict[Place, Manifest], basis: Basis) -> World:
    earlier = {(each["kind"], Ref.of(each)): each for each in basis.against}
    return _declared({**start, **earlier}.values(), basis.watched)


def _declared(objects: Iterable[Manifest], watched: Watched) -> World:
    found = (
        each
        for each in objects
        if each["kind"] in KIND_BY_NAME or each["kind"] == "Namespace" or _has_schemas(each)
    )
    return observed(found, watched, "")


def _has_schemas(manifest: Manifest) -> bool:
    labels = manifest["metadata"].get("labels") or {}
    return manifest["kind"] == "ConfigMap" and SCHEMA in labels
