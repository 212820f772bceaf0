"""One layer of an identity's plan, and what layers share: conflicts, removals, rejected writes."""

from collections.abc import Iterator
from dataclasses import dataclass

from troth.pki.certificates.leaf import Leaf
from troth.planning import status as verdicts
from troth.planning.owned_objects import is_child
from troth.planning.steps.objects import Remove
from troth.planning.steps.step import Step
from troth.resources.conditions import Verdict
from troth.resources.identity.spec import ServiceIdentity
from troth.trust.declarations.narrowing import NOTHING, Narrowing
from troth.world.facts.objects import Fact, Fault


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of the plan: its condition, its steps, and the leaf that is in place.

    `narrowing` is the pending narrowing of the document in the identity's Secret.
    """

    verdict: Verdict
    steps: tuple[Step, ...] = ()
    leaf: Leaf | None = None
    narrowing: Narrowing = NOTHING


def unwritten(type_: str, fault: Fault | None) -> Verdict | None:
    """Return the condition of an object with a write fault, None without one. Troth retries."""
    return verdicts.false(type_, fault.reason, fault.message) if fault is not None else None


def removal(kind: str, fact: Fact | None, identity: ServiceIdentity) -> Iterator[Step]:
    """Yield the removal of an object that should not exist, if this identity owns it."""
    if fact is not None and is_child(fact, identity):
        yield Remove(kind, fact.ref, fact.uid)
