"""Condition of a trust domain that selects namespaces that Troth does not watch or cannot read."""

from collections.abc import Container, Sequence
from dataclasses import replace

from troth.planning import verdicts
from troth.planning.parts import Part, fails_closed, unplanned
from troth.planning.trust_domain.facts import DomainView
from troth.resources.conditions import Verdict
from troth.resources.trust_domain.status import NAMESPACES
from troth.trust.declarations.registry import Registry
from troth.trust.declarations.watched import NOT_WATCHED

TYPE = "NamespacesWatched"
UNREAD = "NamespaceUnread"
"""Reason why a trust domain is not in place in a watched namespace."""
NAMED = 5
"""Maximum number of namespaces that a message names."""


@fails_closed(unplanned(TYPE))
def plan_watched(view: DomainView) -> Part:
    """Return the part that judges whether Troth reads every namespace that a domain selects.

    It has no condition if Troth watches all there are.
    """
    registry = view.registry
    watched = sorted(registry.watched.names or ())[:NAMESPACES]
    part = Part(status={"watched_namespaces": tuple(watched)})
    if registry.watched.everywhere:
        return part
    verdict = _verdict(registry.claimed_by(view.domain), registry, view.terminating)
    return replace(part, verdicts=(verdict,))


def _verdict(selected: Sequence[str], registry: Registry, terminating: Container[str]) -> Verdict:
    """Return whether Troth reads these namespaces. Those that are being deleted do not count."""
    others = [each for each in selected if each not in registry.watched]
    if others:
        message = (
            "the namespaceSelector selects namespaces that Troth does not watch, so it issues and "
            f"opens nothing there: {_named(others)}; add them to the chart value namespaces, or "
            "change the selector"
        )
        return verdicts.false(TYPE, NOT_WATCHED, message)
    unread = [each for each in selected if _is_unread(each, registry, terminating)]
    if unread:
        message = (
            "Troth cannot read all objects of selected namespaces, so nothing opens because of "
            f"them: {_named(unread)}; restore the Role and the RoleBinding that the chart creates "
            "there, or the watch that the operator's log reports as failed"
        )
        return verdicts.false(TYPE, UNREAD, message)
    return verdicts.true(TYPE, "Watched", "Troth watches every selected namespace")


def _is_unread(namespace: str, registry: Registry, terminating: Container[str]) -> bool:
    """Return whether objects of a watched namespace were not listed, or not read for too long."""
    if namespace not in registry.namespaces or namespace in terminating:
        return False
    return namespace in registry.unlisted or registry.unread.has(namespace)


def _named(namespaces: list[str]) -> str:
    named = ", ".join(namespaces[:NAMED])
    more = len(namespaces) - NAMED
    return f"{named} and {more} more" if more > 0 else named
