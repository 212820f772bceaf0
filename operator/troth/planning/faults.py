"""Internal errors: an exception during planning becomes a condition and fails closed.

The plan omits a part that raises and keeps the others. The message names only the exception's
type, because its text may quote the contents of a Secret.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, ParamSpec, TypeVar

from troth.planning import verdicts
from troth.planning.plan import Plan
from troth.planning.reasons.condition import INTERNAL_ERROR
from troth.resources.conditions import Verdict, placed
from troth.resources.references import Ref
from troth.trust.declarations.narrowing import Narrowing
from troth.world.keys import Key
from troth.world.world import World

T = TypeVar("T")
A = ParamSpec("A")


def sentence(error: BaseException) -> str:
    """Return the condition message for an exception."""
    return (
        f"Troth failed with {type(error).__name__}, which is a bug in Troth; report it with the "
        "operator's log. Until it is fixed, Troth retries and opens nothing"
    )


def verdict(type_: str, error: BaseException) -> Verdict:
    """Return the condition of a part that raised `error`."""
    return verdicts.false(type_, INTERNAL_ERROR, sentence(error))


@dataclass(slots=True)
class ErrorBoundary:
    """Runs parts of a plan, so that an exception in one does not affect the others."""

    errors: list[Exception] = field(default_factory=list)

    def run(self, part: Callable[[], T], otherwise: Callable[[Exception], T]) -> T:
        """Return the result of a part, or of `otherwise` if the part raises an exception."""
        try:
            return part()
        except Exception as error:  # noqa: BLE001 - the other parts continue after any error
            self.errors.append(error)
            return otherwise(error)

    def read(self, otherwise: T, part: Callable[A, T], *args: A.args, **kwargs: A.kwargs) -> T:
        """Return the result of a part, or `otherwise` if the part raises an exception."""
        return self.run(partial(part, *args, **kwargs), lambda _: otherwise)


def failed_plan(key: Key, world: World, error: Exception, now: datetime) -> Plan:
    """Return the plan of a resource that cannot be planned: a status with the error, no steps.

    The grants in an identity's document are then unknown, so no caller may call that identity.
    """
    resource = declared(key, world)
    if resource is None:
        return Plan(key, "", errors=(error,))
    before = resource.status.manifest()
    ready = verdict(verdicts.READY, error)
    return Plan(
        key,
        resource.metadata.uid,
        status=not_ready(before, before, resource.metadata.generation, ready, now),
        previous_status=before,
        unapplied=Narrowing(every_caller=True) if key.kind == "ServiceIdentity" else None,
        errors=(error,),
    )


def not_ready(
    status: Mapping[str, Any],
    previous: Mapping[str, Any],
    generation: int,
    ready: Verdict,
    now: datetime,
) -> dict[str, Any]:
    """Return a status with `ready` as `Ready`, `Reconciling` false, and `Stalled` true.

    `previous` is the current status. It provides the transition times of unchanged conditions.
    """
    known = verdicts.readable_conditions(previous)
    changed = {
        each.type: placed(each, known, generation, now).manifest()
        for each in (ready, *verdicts.stalled(ready))
    }
    others = [each for each in status.get("conditions") or () if each["type"] not in changed]
    conditions = [*changed.values(), *others]
    return {**status, "observedGeneration": generation, "conditions": conditions}


def declared(key: Key, world: World) -> Any:  # noqa: ANN401 - each kind has its own status
    """Return the resource of a key, None if it does not exist or cannot be read."""
    found: Mapping[str, Mapping[Ref, Any]] = {
        "ServiceIdentity": world.registry.claimants,
        "MessageBroker": world.brokers.messaging.brokers | world.brokers.leaving_brokers,
        "TopicPolicy": world.brokers.messaging.policies | world.brokers.leaving_policies,
        "CredentialRotation": world.rotations.by_ref,
        "WebhookEndpoint": world.registry.webhooks.endpoints,
    }
    if key.kind == "TrustDomain":
        return world.registry.domains.get(key.ref.name)
    return found.get(key.kind, {}).get(key.ref)
