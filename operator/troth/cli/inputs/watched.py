"""The namespaces that Troth watches, as an option or the statuses of TrustDomains list them."""

from collections.abc import Iterable
from typing import Annotated

import typer

from troth.cli.daemon_options import namespace_names
from troth.resources.faults import FaultyManifests, ManifestFault
from troth.resources.manifests import Manifest
from troth.resources.trust_domain.status import NAMESPACES
from troth.trust.declarations.watched import EVERYWHERE, Watched, not_watched

WATCHED = "--watched-namespaces"
WatchedNamespaces = Annotated[
    str,
    typer.Option(
        WATCHED,
        metavar="NAME[,NAME…]",
        help="Namespaces that Troth watches, as in the chart value namespaces. Defaults to those "
        "in the status of the cluster's TrustDomains, or to all.",
    ),
]


def watched_by(names: str, objects: Iterable[Manifest], own_namespace: str) -> Watched:
    """Return the namespaces of the option, or without it those that a cluster's objects list.

    Raises `typer.BadParameter` if one is not the name of a namespace.
    """
    if names:
        return Watched.of(own_namespace, namespace_names(names, WATCHED))
    return watched_in(each for each in objects if each["kind"] == "TrustDomain")


def watched_in(domains: Iterable[Manifest]) -> Watched:
    """Return the namespaces that Troth watches; all if no status names them.

    A status may have been written before the operator's last start. So a namespace that any status
    names counts as watched, and a list that may be cut says nothing.
    """
    names: set[str] = set()
    for each in domains:
        found = (each.get("status") or {}).get("watchedNamespaces") or []
        if len(found) >= NAMESPACES:
            return EVERYWHERE
        names.update(found)
    return Watched(frozenset(names)) if names else EVERYWHERE


def check_watched(namespaces: Iterable[str], watched: Watched) -> None:
    """Raise `FaultyManifests` if Troth does not watch one of these namespaces."""
    faults = [
        ManifestFault("", f"Namespace {each}", "", not_watched(each))
        for each in namespaces
        if each not in watched
    ]
    if faults:
        raise FaultyManifests(faults)
