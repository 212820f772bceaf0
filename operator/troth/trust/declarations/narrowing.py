"""Narrowings of `identity.json` that are declared but not written yet."""

from dataclasses import dataclass, replace
from typing import Self

from troth.resources.references import Ref


@dataclass(frozen=True, slots=True)
class Narrowing:
    """Peers that the `identity.json` of an identity still grants more than is declared.

    `callers` have more rights here than declared. `callees` are verified with more than declared.
    `every_caller` and `every_callee` cover all of them, if the surplus does not concern a single
    peer: newly required context, or a root that is no longer trusted.
    """

    callers: frozenset[Ref] = frozenset()
    callees: frozenset[Ref] = frozenset()
    every_caller: bool = False
    every_callee: bool = False

    def __bool__(self) -> bool:
        return self != NOTHING

    def closes(self, peer: Ref, *, inbound: bool) -> bool:
        """Return whether the edge with a peer closes, on which it calls or is called."""
        if inbound:
            return self.every_caller or peer in self.callers
        return self.every_callee or peer in self.callees

    def within(self, other: "Narrowing") -> Self:
        """Return the part of this narrowing that another one closes too.

        Where this one covers every peer, the part is every peer or those that the other one names.
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

    def without(self, other: "Narrowing") -> Self:
        """Return this narrowing without the single peers that another one names."""
        return replace(
            self, callers=self.callers - other.callers, callees=self.callees - other.callees
        )

    def joined(self, other: "Narrowing") -> Self:
        """Return the union of this narrowing and another one."""
        return replace(
            self,
            callers=self.callers | other.callers,
            callees=self.callees | other.callees,
            every_caller=self.every_caller or other.every_caller,
            every_callee=self.every_callee or other.every_callee,
        )


NOTHING = Narrowing()
