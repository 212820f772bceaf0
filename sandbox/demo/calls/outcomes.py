"""From a call to a trial: the facts that must hold at each layer, and how a row shows them."""

from collections.abc import Callable

from sandbox.demo.calls.table import REJECTIONS, Call
from sandbox.demo.cast import between
from sandbox.demo.screen import NOT_REACHED, REJECTED
from sandbox.demo.trials import Facts, Observation, Trial
from sandbox.node.workload import Layer, Mode, Outcome

HEADINGS = ("packets", "handshake", "scope, or reason")


def headings(second: str, *, filtered: bool) -> tuple[str, ...]:
    """Return a table's headings; without a packet filter there is no column for packets."""
    return ("caller → callee", second, *HEADINGS[not filtered :])


def trial(call: Call, attempt: Callable[[Call], Outcome], *, filtered: bool) -> Trial:
    """Return the trial of a call. Where packets are not `filtered` the handshake alone decides."""
    return Trial(
        between(call.caller, call.callee),
        call.about,
        expected(call, filtered=filtered),
        lambda: observed(call, attempt(call), filtered=filtered),
    )


def expected(call: Call, *, filtered: bool) -> Facts:
    """Return the layer at which a call must end, and why."""
    if filtered and not call.passes:
        return {"layer": Layer.NETWORK, "reason": "rejected"}
    if call.rejection:
        return {
            "layer": Layer.HANDSHAKE,
            "by": call.rejection.by,
            "reason": call.rejection.words,
        }
    server = {"server": call.expect} if call.mode is Mode.MTLS else {}
    granted = not call.scope or call.scope in call.scopes
    layer = Layer.ANSWERED if granted else Layer.SCOPE
    return {"layer": layer, "scopes": sorted(call.scopes), **server}


def observed(call: Call, outcome: Outcome, *, filtered: bool) -> Observation:
    """Return what happened to a call, as facts and as cells."""
    facts = {
        "layer": outcome.layer,
        "by": outcome.by,
        "reason": reason(outcome),
        "detail": outcome.detail,
        "server": outcome.server,
        "scopes": sorted(outcome.scopes),
    }
    cells = (packets(outcome), _handshake(call, outcome), _scope(call, outcome))
    return Observation(facts, cells[not filtered :])


def packets(outcome: Outcome) -> str:
    """Return what the packet filter did."""
    return "pass" if reached(outcome) else REJECTED


def reached(outcome: Outcome) -> bool:
    """Whether the packets reached the callee."""
    return outcome.layer is not Layer.NETWORK or outcome.reason == "closed"


def reason(outcome: Outcome) -> str:
    """Return why a call was rejected, in the words of `table`."""
    for rejection in REJECTIONS:
        if outcome.by == rejection.by and outcome.reason in rejection.reasons:
            return rejection.words
    return outcome.reason


def _handshake(call: Call, outcome: Outcome) -> str:
    if outcome.layer is Layer.NETWORK or call.mode is Mode.CONNECT:
        return NOT_REACHED
    if outcome.layer is Layer.HANDSHAKE:
        return REJECTED
    return "plain" if call.mode is Mode.PLAIN else "mTLS 1.3"


def _scope(call: Call, outcome: Outcome) -> str:
    match outcome.layer:
        case Layer.NETWORK:
            return NOT_REACHED
        case Layer.HANDSHAKE:
            return reason(outcome)
        case Layer.SCOPE:
            return f"{call.scope} rejected"
        case Layer.ANSWERED if call.mode is Mode.CONNECT:
            return NOT_REACHED
    return f"{call.scope} granted" if call.scope else "no scopes"
