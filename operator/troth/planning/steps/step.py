"""Base classes of steps.

A step names its target, and can tell from the world whether it is done.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

from troth.resources.references import Ref
from troth.world.facts.objects import Manifest
from troth.world.keys import Key
from troth.world.world import World

Target = tuple[str, Ref]
"""Kind and place of an object, or of its status."""


def status_of(key: Key) -> Target:
    """Return the status of a resource, which is written apart from the resource."""
    return f"{key.kind}/status", key.ref


class _Step(ABC):
    """One change that a plan requests."""

    __slots__ = ()

    @property
    @abstractmethod
    def target(self) -> Target:
        """Object that the step writes, deletes, or works at."""

    def is_done(self, world: World) -> bool:  # noqa: ARG002 - for those that need it
        """Return whether the world shows that the step is done, False if it cannot show that."""
        return False


class WriteStep(_Step):
    """Step at the API server. Its handler is in `STEP_HANDLERS`."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class ManifestStep(WriteStep):
    """Step that writes all or part of the object that a manifest describes."""

    manifest: Manifest = field(repr=False)

    @property
    def target(self) -> Target:
        """Object that the step writes."""
        return self.manifest["kind"], Ref.of(self.manifest)


@dataclass(frozen=True, slots=True)
class ObjectStep(WriteStep):
    """Step on an existing object, which must have this `uid`."""

    kind: str
    ref: Ref
    uid: str

    @property
    def target(self) -> Target:
        """Object that the step changes or deletes."""
        return self.kind, self.ref


@dataclass(frozen=True, slots=True)
class SecretStep(WriteStep):
    """Step on an existing Secret, if it is unchanged since it was observed."""

    ref: Ref
    uid: str
    resource_version: str

    @property
    def target(self) -> Target:
        """Secret that the step changes."""
        return "Secret", self.ref


@dataclass(frozen=True, slots=True)
class BackgroundStep(_Step):
    """Step at a broker, in the background. Its handler is in `BROKER_HANDLERS`."""

    broker: Ref

    @property
    def target(self) -> Target:
        """MessageBroker that the step works at."""
        return "MessageBroker", self.broker


Step = WriteStep | BackgroundStep
