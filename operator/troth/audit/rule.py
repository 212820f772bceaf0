"""What a rule is."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from troth.audit.finding import Finding, Fix
from troth.audit.scene import Scene
from troth.resources.reported import Severity


class Scope(StrEnum):
    """What one evaluation of a rule covers. It decides what is evaluated again after a change."""

    NAMESPACE = "Namespace"
    """One namespace. A change of an object in another namespace changes nothing, unless the object
    is of one of Troth's kinds, cluster-scoped, or an AuthorizationPolicy for all of a mesh."""
    CLUSTER = "Cluster"


@dataclass(frozen=True, slots=True)
class Rule:
    """One anti-pattern that Troth finds.

    `find` is pure. It takes the scene and a namespace, empty for the scope Cluster, and yields the
    findings. Its module has one rule, and `registry` one line for it.
    """

    id: str
    """ID that never changes, such as `TR701`. Also the name of its page, docs/findings/TR701.md."""
    name: str
    """CamelCase name, such as `DefaultServiceAccount`."""
    title: str
    """What the rule finds, as one sentence."""
    severity: Severity
    reads: frozenset[str]
    """Kinds without which the rule cannot say that there is no finding."""
    find: Callable[[Scene, str], Iterable[Finding]]
    fix: Callable[[Scene, Finding], Fix]
    """Returns the way out of a finding of this rule."""
    scope: Scope = Scope.NAMESPACE
    sources: frozenset[str] = frozenset()
    """Sources besides the API server, `probes` and `brokers`, that it needs. With
    `brokers` it also names what it needs of a broker, such as `brokers:Rights`: an aspect of
    `status.observed.hidden`, or `brokers:Guards` for the condition EdgesValidated."""
