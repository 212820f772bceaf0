"""The common part of the campaigns: a stage, and the rules of faults."""

from collections.abc import Coroutine
from typing import Any, ClassVar, Generic, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from tests.builders import Manifest
from tests.campaign.cluster import Refusal
from tests.campaign.stages.stage import Stage
from tests.virtual_time import VirtualTimeLoop

S = TypeVar("S", bound=Stage)

MOST_MIXTURES = 12
"""Maximum number of mixtures of the declarations before the cluster must come to rest."""
REFUSALS: tuple[Refusal, ...] = ("lost", "409", "403", "500")

kinds: st.SearchStrategy[str] = st.runner().flatmap(lambda it: st.sampled_from(it.watched))


class Machine(RuleBasedStateMachine, Generic[S]):
    """A state machine whose rules are events; each lets a little time pass."""

    watched: ClassVar[tuple[str, ...]]
    """Kinds whose events a copy may miss for a while."""

    def __init__(self, stage: S) -> None:
        super().__init__()
        self.loop = VirtualTimeLoop()
        self.stage = stage

    def run(self, story: Coroutine[Any, Any, None]) -> None:
        self.loop.run_until_complete(story)

    def open(self, *manifests: Manifest) -> None:
        """Start with one copy of the operator and the initial declarations."""
        for manifest in manifests:
            self.stage.server.put(manifest)
        self.stage.history.begin(self.stage.server.objects, self.stage.clock.now())
        self.run(self.stage.begin_copy())
        self.run(self.stage.calm())

    def teardown(self) -> None:
        try:
            if self.stage.copies and not self.stage.wrong:
                self.run(self.stage.calm())
        finally:
            self.run(self.stage.end())
            self.loop.close()

    def declare(self, manifest: Manifest) -> None:
        if self.stage.history.mixtures >= MOST_MIXTURES:
            self.run(self.stage.calm())
        self.run(self.stage.put(manifest))

    # Faults

    @rule(refusals=st.lists(st.sampled_from(REFUSALS), min_size=1, max_size=4))
    def refuse_writes(self, refusals: list[Refusal]) -> None:
        self.stage.server.refusals += refusals

    @rule(writes=st.integers(1, 6))
    def crash(self, writes: int) -> None:
        """Crash after this many more writes."""
        self.stage.server.crash_after = len(self.stage.server.log) + writes

    @rule(kind=kinds)
    def mute(self, kind: str) -> None:
        self.stage.copies[0].mute(kind)

    @rule(kind=kinds)
    def unmute(self, kind: str) -> None:
        self.stage.copies[0].unmute(kind)
        self.run(self.stage.work())

    @rule(kind=kinds, behind=st.integers(0, 3))
    def list_again(self, kind: str, behind: int) -> None:
        self.stage.copies[0].list(kind, self.stage.behind(kind, behind))
        self.run(self.stage.work())

    # Two copies

    @precondition(lambda self: len(self.stage.copies) == 1)
    @rule()
    def begin_another_copy(self) -> None:
        self.run(self.stage.begin_copy())

    @precondition(lambda self: len(self.stage.copies) == 2)
    @rule(overlap=st.booleans())
    def take_over(self, overlap: bool) -> None:
        self.run(self.stage.take_over(overlap=overlap))

    # Rest

    @rule()
    def calm(self) -> None:
        self.run(self.stage.calm())
