"""Callbacks for the metrics of a consumer."""

from typing import Final, Protocol

from troth.edge.events.consumption.steps import Consumed


class Hooks(Protocol):
    """Callbacks for metrics. They must not raise."""

    def consumed(self, consumed: Consumed) -> None:
        """Count a message that may be committed, by its outcome and the reason of its rejection."""

    def waited(self, reason: str, seconds: float) -> None:
        """Count the time for which a message waits; `reason` is a reason of a rejection or more."""


class _NoHooks:
    def consumed(self, consumed: Consumed) -> None: ...

    def waited(self, reason: str, seconds: float) -> None: ...


NO_HOOKS: Final[Hooks] = _NoHooks()
"""Callbacks that count nothing."""
