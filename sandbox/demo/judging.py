"""Whether what became of a trial is what had to, and what that was in words, layer by layer."""

from dataclasses import dataclass

from sandbox.demo.trials import REFUSALS, Trial
from sandbox.node.workload import Layer, Mode, Outcome

NOT_REACHED = "·"


@dataclass(frozen=True, slots=True)
class Result:
    """A trial and what became of it; if that is wrong, `expected` says what had to."""

    trial: Trial
    outcome: Outcome
    expected: str = ""

    @property
    def is_wrong(self) -> bool:
        """Whether something else became of it than had to."""
        return bool(self.expected)

    @property
    def packets(self) -> str:
        """What happened to the packets."""
        passed = self.outcome.layer is not Layer.NETWORK or self.outcome.reason == "closed"
        return "pass" if passed else "refused"

    @property
    def handshake(self) -> str:
        """What happened at the handshake."""
        if self.outcome.layer is Layer.NETWORK or self.trial.mode is Mode.CONNECT:
            return NOT_REACHED
        if self.outcome.layer is Layer.HANDSHAKE:
            return "refused"
        return "plain" if self.trial.mode is Mode.PLAIN else "mTLS 1.3"

    @property
    def scope(self) -> str:
        """What happened to the scope that was asked for, or why the handshake was refused."""
        match self.outcome.layer:
            case Layer.NETWORK:
                return NOT_REACHED
            case Layer.HANDSHAKE:
                by_caller = f"{self.trial.caller.name}: " if self.outcome.by == "client" else ""
                return by_caller + in_words(self.outcome)
            case Layer.SCOPE:
                return f"{self.trial.scope} refused"
            case Layer.ANSWERED if self.trial.mode is Mode.CONNECT:
                return NOT_REACHED
        return f"{self.trial.scope} granted" if self.trial.scope else "no scopes"


def judge(trial: Trial, outcome: Outcome, *, filtered: bool) -> Result:
    """Judge a trial. Where packets are not `filtered` the handshake decides all by itself."""
    layer, right, expected = _expected(trial, outcome, filtered=filtered)
    if outcome.layer is layer and right:
        return Result(trial, outcome)
    return Result(trial, outcome, expected)


def in_words(outcome: Outcome) -> str:
    """Return why a handshake was refused."""
    for refusal in REFUSALS:
        if outcome.by == refusal.by and outcome.reason in refusal.reasons:
            return refusal.words
    return outcome.reason


def _expected(trial: Trial, outcome: Outcome, *, filtered: bool) -> tuple[Layer, bool, str]:
    """Return at which layer it must end, whether all else is right, and both in words."""
    if filtered and not trial.passes:
        return Layer.NETWORK, outcome.reason == "rejected", "a refusal by the packet filter"
    if trial.refusal:
        right = outcome.by == trial.refusal.by and outcome.reason in trial.refusal.reasons
        return Layer.HANDSHAKE, right, f"a refused handshake: {trial.refusal.words}"
    right = set(outcome.scopes) == set(trial.scopes)
    if trial.mode is Mode.MTLS:
        right = right and outcome.server == trial.expect
    scopes = ", ".join(trial.scopes) or "none"
    if trial.scope and trial.scope not in trial.scopes:
        return Layer.SCOPE, right, f"a refusal of the scope {trial.scope}; granted: {scopes}"
    return Layer.ANSWERED, right, f"an answer; scopes granted: {scopes}"
