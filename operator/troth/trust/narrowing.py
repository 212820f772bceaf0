"""Narrowings of `identity.json` that are declared and not yet written."""

from dataclasses import dataclass, replace
from typing import Self

from troth.resources.references import Ref


@dataclass(frozen=True, slots=True)
class Narrowing:
    """The peers to whom the `identity.json` of an identity still grants more than is declared.

    `callers` may do more here than is declared, and `callees` are verified by more than is
    declared. `every_caller` and `every_callee` stand for all of them, where the surplus is not one
    peer's: a context that is newly required, a root that is trusted no longer.
    """

    callers: frozenset[Ref] = frozenset()
    callees: frozenset[Ref] = frozenset()
    every_caller: bool = False
    every_callee: bool = False

    def __bool__(self) -> bool:
        return self != NOTHING

    def closes(self, peer: Ref, *, inbound: bool) -> bool:
        """Say whether the edge with a peer is concerned: one on which it calls, or is called."""
        if inbound:
            return self.every_caller or peer in self.callers
        return self.every_callee or peer in self.callees

    def within(self, other: "Narrowing") -> Self:
        """Return the part of this that another one closes too.

        Of what concerns everybody, that is everybody, or those that the other one names.
        """
        every_caller = self.every_caller and other.every_caller
        every_callee = self.every_callee and other.every_callee
        callers = other.callers if self.every_caller else self.callers
        callees = other.callees if self.every_callee else self.callees
        return replace(
            self,
            callers=frozenset(ref for ref in callers if other.closes(ref, inbound=True))
            if not every_caller
            else frozenset(),
            callees=frozenset(ref for ref in callees if other.closes(ref, inbound=False))
            if not every_callee
            else frozenset(),
            every_caller=every_caller,
            every_callee=every_callee,
        )

    def joined(self, other: "Narrowing") -> Self:
        """Return what this one or another one closes."""
        return replace(
            self,
            callers=self.callers | other.callers,
            callees=self.callees | other.callees,
            every_caller=self.every_caller or other.every_caller,
            every_callee=self.every_callee or other.every_callee,
        )


NOTHING = Narrowing()
