"""What every step has in common, and the fields that several share.

A step carries its target, and says whether the world shows it as done.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

from troth.resources.references import Ref
from troth.world.facts.objects import Manifest
from troth.world.world import World

Target = tuple[str, Ref]
"""The kind and place of an object."""


class _Step(ABC):
    """One thing that a plan asks for."""

    __slots__ = ()

    @property
    @abstractmethod
    def target(self) -> Target:
        """The object that the step writes, removes, or works at."""

    def is_done(self, world: World) -> bool:  # noqa: ARG002 - most steps ask for a change
        """Say whether the world shows the step as done, if it says how an object is to be."""
        return False


class WriteStep(_Step):
    """A step at the API server. Its handler is in `STEP_HANDLERS`."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class ManifestStep(WriteStep):
    """A step that writes the object that a manifest describes, at least in part."""

    manifest: Manifest = field(repr=False)

    @property
    def target(self) -> Target:
        """The object that is written."""
        return self.manifest["kind"], Ref.of(self.manifest)


@dataclass(frozen=True, slots=True)
class ObjectStep(WriteStep):
    """A step upon an object that exists; `uid` says which one was meant."""

    kind: str
    ref: Ref
    uid: str

    @property
    def target(self) -> Target:
        """The object that is changed or removed."""
        return self.kind, self.ref


@dataclass(frozen=True, slots=True)
class SecretStep(WriteStep):
    """A step upon a Secret that exists, if it still is as it was seen."""

    ref: Ref
    uid: str
    resource_version: str

    @property
    def target(self) -> Target:
        """The Secret that is changed."""
        return "Secret", self.ref


@dataclass(frozen=True, slots=True)
class BackgroundStep(_Step):
    """A step at a broker, in the background. Its handler is in `BROKER_HANDLERS`."""

    broker: Ref

    @property
    def target(self) -> Target:
        """The MessageBroker that is worked at."""
        return "MessageBroker", self.broker


Step = WriteStep | BackgroundStep
