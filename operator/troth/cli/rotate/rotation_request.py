"""What to apply so that a credential is rotated: one field of one CredentialRotation."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from troth.resources.manifests import Fault, FaultyManifests, Manifest
from troth.resources.metadata import API_VERSION, NAME_LIMIT
from troth.resources.references import Ref
from troth.resources.rotation.spec import TargetKind
from troth.resources.schema.scalars import format_time, parse_moment

KIND = "CredentialRotation"
SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Request:
    """A rotation to ask for: of what, by which CredentialRotation, and as it is now if it is."""

    target: Manifest
    """As `spec.target` has it."""
    ref: Ref
    standing: Manifest | None
    field: str
    """What is set in `spec`: `requestedAt`, or `compromised`."""
    value: str

    def manifest(self) -> Manifest:
        """Return what is applied: the one field, and the target, which never changes."""
        return self._with({"target": self.target, self.field: self.value})

    def committed(self) -> Manifest:
        """Return the whole of it, as it would stand under version control."""
        before = self.standing["spec"] if self.standing else {}
        return self._with({"target": self.target, **before, self.field: self.value})

    @property
    def replaces(self) -> str:
        """What the field was before, if it was something else."""
        before = str((self.standing or {"spec": {}})["spec"].get(self.field, ""))
        return before if before != self.value else ""

    def _with(self, spec: Manifest) -> Manifest:
        return {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": {"name": self.ref.name, "namespace": self.ref.namespace},
            "spec": spec,
        }


def rotate_now(
    target: Manifest, namespace: str, rotations: Iterable[Manifest], name: str, now: datetime
) -> Request:
    """Return the request for a rotation as soon as can be.

    It goes into the one CredentialRotation of the target, if there is just one, so that whoever
    keeps that under version control need not have another beside it; or else into one of its own.
    """
    standing = _chosen(target, list(rotations), name)
    ref = Ref.of(standing) if standing else Ref(namespace, name or _own(target))
    return Request(target, ref, standing, "requestedAt", format_time(moment(standing, now)))


def drop_root(
    target: Manifest, namespace: str, rotations: Iterable[Manifest], name: str, fingerprint: str
) -> Request:
    """Return the request to drop a root whose key is known to others, or a key that signs tokens.

    It goes into a CredentialRotation of its own, which stays as the record of it.
    """
    ref = Ref(namespace, name or _named(target["name"], f"compromised-{fingerprint[:8]}"))
    standing = next((each for each in rotations if Ref.of(each) == ref), None)
    if standing is not None:
        _must_be_of(standing, target)
        if not standing["spec"].get("compromised", fingerprint).startswith(fingerprint):
            _must_not_be_a_record(standing)
    return Request(target, ref, standing, "compromised", fingerprint)


def moment(standing: Manifest | None, now: datetime) -> datetime:
    """Return the next whole second, in which the credential in use cannot have been made.

    When that was made is known in whole seconds, and one that was made in the second of a request
    would count as the answer to it; also where this machine's clock is behind the operator's.
    """
    following = now.replace(microsecond=0) + SECOND
    last = ((standing or {}).get("status") or {}).get("lastRotated")
    return max(following, parse_moment(last) + SECOND) if last else following


def _chosen(target: Manifest, rotations: list[Manifest], name: str) -> Manifest | None:
    if name:
        return _usable(name, target, rotations)
    found = [
        each
        for each in rotations
        if each["spec"]["target"] == target and "compromised" not in each["spec"]
    ]
    return found[0] if len(found) == 1 else _usable(_own(target), target, rotations)


def _usable(name: str, target: Manifest, rotations: list[Manifest]) -> Manifest | None:
    """Return what stands under a name; raises `FaultyManifests` where that is for something else:
    a request that is applied there would take its place.
    """
    standing = next((each for each in rotations if each["metadata"]["name"] == name), None)
    if standing is not None:
        _must_be_of(standing, target)
        _must_not_be_a_record(standing)
    return standing


def _must_be_of(standing: Manifest, target: Manifest) -> None:
    theirs = standing["spec"]["target"]
    if theirs != target:
        sentence = f"rotates {theirs['kind']} {theirs['name']}; choose another --name"
        raise FaultyManifests([Fault("", f"{KIND} {Ref.of(standing)}", "", sentence)])


def _must_not_be_a_record(standing: Manifest) -> None:
    if "compromised" in standing["spec"]:
        sentence = (
            "declares what is compromised and stays as the record of it; choose another --name"
        )
        raise FaultyManifests([Fault("", f"{KIND} {Ref.of(standing)}", "", sentence)])


def _own(target: Manifest) -> str:
    return _named(target["name"], "rotation")


def _named(target: str, suffix: str) -> str:
    return f"{target[: NAME_LIMIT - len(suffix) - 1].rstrip('-.')}-{suffix}"


def target_of(kind: str, name: str) -> Manifest:
    """Return a resource as `spec.target` names it; raises `FaultyManifests` for other kinds."""
    if kind not in set(TargetKind):
        known = " or ".join(TargetKind)
        raise FaultyManifests(
            [Fault("", f"{kind} {name}", "", f"cannot be rotated; name a {known}")]
        )
    return {"kind": kind, "name": name}
