"""Next step at a broker: its observation, a change, or the finalizer, one at a time."""

from collections.abc import Iterator

from troth.planning.brokers.view import BrokerView
from troth.planning.grants.dialects import unsupported
from troth.planning.grants.finalizer import add_finalizer, is_held, patience_ends, remove_finalizer
from troth.planning.steps.brokers import ChangeBroker
from troth.planning.steps.objects import RemoveLedger
from troth.planning.steps.step import Step
from troth.world.facts.broker import BrokerObservation
from troth.world.facts.objects import Fault


def is_idle(view: BrokerView) -> bool:
    """Return whether the broker can be observed or changed now."""
    if view.look.busy or unsupported(view.broker) is not None or is_over(view):
        return False
    # otherwise nothing is left to do there, and another controller's finalizer holds it
    return not view.leaving or is_held(view.broker)


def is_observed_next(view: BrokerView) -> bool:
    """Return whether the next step is an observation of the broker."""
    return is_idle(view) and view.moment.uptime >= view.next_look


def change_of(view: BrokerView) -> Step | None:
    """Return the step that changes the broker, or that adds the finalizer first."""
    broker, held = view.broker, is_held(view.broker)
    if not is_idle(view) or is_observed_next(view):
        return None
    if view.kept is not None and view.enforcing and not held:
        return add_finalizer(broker)  # somebody removed the finalizer
    if view.change is not None and (not view.look.suspect or _has_news(view.change, view.look)):
        return view.change if view.leaving or held else add_finalizer(broker)
    return None


def is_settled(view: BrokerView) -> bool:
    """Return whether a broker that is not being deleted is known to need no step now."""
    if not is_idle(view) or is_observed_next(view) or change_of(view) is not None:
        return False
    return view.work is not None and not view.leaving and not view.look.suspect


def refused_change(view: BrokerView) -> Fault | None:
    """Return a fault that names a change that the broker rejected, None if there is none."""
    over = view.work is not None and view.work.step is None
    if not view.look.failures or over:
        return None
    change, said = min(view.look.failures.items(), key=str)
    whose = change[0] if isinstance(change, tuple) else change.principal
    message = f"the broker did not make every change; for {whose}: {said}"
    return Fault("ChangeRefused", message[:1024])


def _has_news(change: ChangeBroker, look: BrokerObservation) -> bool:
    """Return whether a change has more than what the broker has just rejected.

    The rest of the change does not wait for the retry.
    """
    uploaded = ((each.principal, each.slot) for each in change.uploads)
    requested = {*uploaded, *change.additions, *change.removals, *change.revocations}
    return bool(look.failures) and not requested <= look.failures.keys()


# Deletion


def is_over(view: BrokerView) -> bool:
    """Return whether the deletion of a broker ends, so that nothing else is done for it."""
    if not view.leaving:
        return False
    return not view.broker.metadata.finalizers or any(True for _ in parting(view))


def parting(view: BrokerView) -> Iterator[Step]:
    """Yield the step that ends a broker's deletion once nothing is left to do there.

    The ledger is removed first. Without its broker, nothing would remove it any more.
    """
    broker, kept = view.broker, view.kept
    if not is_held(broker):
        return
    warning = ""
    if kept is not None and view.enforcing:
        ends = patience_ends(broker)
        if view.work is not None and view.work.step is None:
            pass
        elif _why_not(view) is not None and ends is not None and ends <= view.moment.now:
            warning = _left_behind(view)
        else:
            return
    elif kept is not None:
        warning = _left_behind(view)
    if kept is not None and not kept.leaving:
        yield RemoveLedger("ConfigMap", kept.ref, kept.uid, warning)
    else:
        yield remove_finalizer(broker, warning)


def _why_not(view: BrokerView) -> Fault | None:
    """Return why nothing more can be revoked, None if that is unknown."""
    return view.fault or refused_change(view)


def _left_behind(view: BrokerView) -> str:
    """Return what stays at a broker that is unreachable, or that Troth may not change."""
    assert view.kept is not None
    principals, fault = sorted(view.kept.ledger.principals), _why_not(view)
    why = fault.message if fault is not None else f"mode is {view.broker.spec.mode}"
    if view.kept.fault is not None:
        prefix = view.broker.spec.owns.principal_prefix
        return (
            f"all grants and credentials of principals {prefix}* stay at the broker, because {why}"
        )
    return (
        f"{len(view.kept.ledger.rules)} rules and the credentials of {len(principals)} "
        f"principals stay at the broker, because {why}: {', '.join(principals)}"
    )
