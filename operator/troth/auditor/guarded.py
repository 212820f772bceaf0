"""Rules whose exceptions are reported, so that one object or one rule does not end an audit."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import structlog

from troth.audit.finding import Finding, Unseen
from troth.audit.rule import Rule
from troth.audit.scene import Scene
from troth.world.origin import origin

log = structlog.get_logger()


class GuardedRules:
    """Rules that find nothing where they raise an exception, and what they raised."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._failed: dict[tuple[str, str], str] = {}
        self.rules = tuple(map(self._guarded, rules))

    def failures(self) -> Iterator[Unseen]:
        """Yield where rules could not see anything, because they failed there."""
        for (rule, namespace), error in sorted(self._failed.items()):
            place = f"namespace {namespace}" if namespace else "the cluster"
            reason = f"the rule failed ({error}); please report this as a bug"
            yield Unseen(rule, (place,), reason)

    def forget(self) -> None:
        """Forget all failures, before everything is evaluated. A namespace may be gone."""
        self._failed.clear()

    def _guarded(self, rule: Rule) -> Rule:
        def find(scene: Scene, namespace: str) -> list[Finding]:
            try:
                found = list(rule.find(scene, namespace))
            except Exception as error:  # noqa: BLE001 - the other rules are evaluated
                log.error("rule failed", rule=rule.id, namespace=namespace, error=origin(error))  # noqa: TRY400
                self._failed[rule.id, namespace] = origin(error)
                return []
            self._failed.pop((rule.id, namespace), None)
            return found

        return replace(rule, find=find)
