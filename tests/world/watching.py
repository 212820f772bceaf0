"""Every key whose plan differs after a change is among the affected ones."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.builders import Cluster
from troth.world.keys import Key, Keys


@dataclass
class Watch:
    """Makes changes and holds the world to its word.

    What is said after one change is what is said before the next, and is not worked out again:
    whatever else changes the cluster is followed by `look_anew`.
    """

    cluster: Cluster
    look: Callable[[Cluster], dict[Key, Any]]
    """Works out what is said of everybody."""
    _said: dict[Key, Any] | None = field(default=None, init=False)

    def __call__(self, told: str, change: Callable[..., Keys], *what: Any) -> None:
        before = self._said if self._said is not None else self.look(self.cluster)
        named = change(*what)
        after = self._said = self.look(self.cluster)
        forgotten = [str(key) for key in after if before[key] != after[key] and key not in named]
        assert not forgotten, f"{told}: {forgotten}"

    def look_anew(self) -> None:
        self._said = None
