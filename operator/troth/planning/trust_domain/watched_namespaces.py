"""Condition of a trust domain that selects namespaces that Troth does not watch."""

from troth.planning import status as verdicts
from troth.resources.conditions import Verdict
from troth.resources.trust_domain.spec import TrustDomain
from troth.trust.declarations.watched import NOT_WATCHED
from troth.world.world import World

CONDITION = "NamespacesWatched"
NAMED = 5
"""Maximum number of namespaces that a message names."""


def judge(domain: TrustDomain, world: World) -> Verdict | None:
    """Return whether Troth watches every selected namespace; None if it watches all there are."""
    watched = world.registry.watched
    if watched.everywhere:
        return None
    others = [each for each in world.registry.claimed_by(domain) if each not in watched]
    if not others:
        return verdicts.true(CONDITION, "Watched", "Troth watches every selected namespace")
    named = ", ".join(others[:NAMED])
    if len(others) > NAMED:
        named += f" and {len(others) - NAMED} more"
    message = (
        "the namespaceSelector selects namespaces that Troth does not watch, so it issues and "
        f"opens nothing there: {named}; add them to the chart value namespaces, or change the "
        "selector"
    )
    return verdicts.false(CONDITION, NOT_WATCHED, message)
