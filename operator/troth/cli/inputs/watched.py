"""The namespaces that Troth watches, as the statuses of TrustDomains say."""

from collections.abc import Iterable

from troth.resources.manifests import Manifest
from troth.resources.trust_domain.status import NAMESPACES
from troth.trust.declarations.watched import EVERYWHERE, Watched


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
