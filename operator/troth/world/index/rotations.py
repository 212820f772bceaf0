"""Index of the declared rotations by target."""

from troth.resources.metadata import is_terminating
from troth.resources.references import Ref
from troth.resources.rotation.spec import CredentialRotation, TargetKind
from troth.trust.multimap import Multimap
from troth.world.keys import Key, Keys


def target_key(rotation: CredentialRotation) -> Key:
    """Return the key of the resource whose credential is rotated."""
    return Key(rotation.spec.target.kind.value, rotation.target)


def rotation_key(ref: Ref) -> Key:
    """Return the key of a CredentialRotation."""
    return Key("CredentialRotation", ref)


class Rotations:
    """Index of all CredentialRotations; several may have the same target."""

    def __init__(self, own_namespace: str) -> None:
        self._own_namespace = own_namespace
        self.by_ref: dict[Ref, CredentialRotation] = {}
        self._by_target = Multimap[Key, Ref]()

    def put(self, rotation: CredentialRotation) -> None:
        """Add or replace a rotation. One that is being deleted no longer requests anything."""
        self.drop(rotation.ref)
        self.by_ref[rotation.ref] = rotation
        if is_terminating(rotation):
            return
        self._by_target.add(target_key(rotation), rotation.ref)

    def drop(self, ref: Ref) -> None:
        """Remove a rotation."""
        before = self.by_ref.pop(ref, None)
        if before is not None:
            self._by_target.discard(target_key(before), ref)

    def may(self, rotation: CredentialRotation) -> bool:
        """Return whether a rotation is in a namespace that may request it.

        A root may be rotated only from Troth's own namespace, because this affects every namespace.
        """
        return (
            rotation.spec.target.kind is not TargetKind.TRUST_DOMAIN
            or rotation.ref.namespace == self._own_namespace
        )

    def of(self, target: Key) -> tuple[CredentialRotation, ...]:
        """Return the permitted rotations of a resource."""
        found = (self.by_ref[ref] for ref in sorted(self._by_target.of(target)))
        return tuple(rotation for rotation in found if self.may(rotation))

    def concerned(self, targets: Keys) -> Keys:
        """Return the keys of the rotations with these targets, permitted or not."""
        if not self.by_ref:
            return set()
        return {rotation_key(ref) for target in targets for ref in self._by_target.of(target)}
