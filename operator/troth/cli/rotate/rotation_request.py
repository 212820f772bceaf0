"""The request for a rotation: one field of one CredentialRotation."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from troth.resources.faults import FaultyManifests, ManifestFault
from troth.resources.manifests import Manifest
from troth.resources.metadata import API_VERSION, NAME_LIMIT
from troth.resources.references import Ref
from troth.resources.rotation.spec import TargetKind
from troth.resources.schema.scalars import format_time, parse_moment

KIND = "CredentialRotation"
SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Request:
    """A requested rotation: its target, its CredentialRotation, and that object if it exists."""

    target: Manifest
    """The value of `spec.target`."""
    ref: Ref
    existing: Manifest | None
    field: str
    """The field of `spec` to set: `requestedAt` or `compromised`."""
    value: str

    def manifest(self) -> Manifest:
        """Return the manifest to apply: the field, and the target, which is immutable."""
        return self._with({"target": self.target, self.field: self.value})

    def committed(self) -> Manifest:
        """Return the complete manifest, as version control should have it."""
        before = self.existing["spec"] if self.existing else {}
        return self._with({"target": self.target, **before, self.field: self.value})

    @property
    def replaces(self) -> str:
        """The previous value of the field, empty if it has none or the same."""
        before = str((self.existing or {"spec": {}})["spec"].get(self.field, ""))
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
    """Return the request for a rotation as soon as possible.

    It uses the target's CredentialRotation if there is exactly one, so that version control needs
    no second one. Otherwise it uses one named after the target.
    """
    existing = _chosen(target, list(rotations), name)
    ref = Ref.of(existing) if existing else Ref(namespace, name or _own(target))
    return Request(target, ref, existing, "requestedAt", format_time(moment(existing, now)))


def drop_root(
    target: Manifest, namespace: str, rotations: Iterable[Manifest], name: str, fingerprint: str
) -> Request:
    """Return the request to revoke a compromised root or token key.

    It uses a separate CredentialRotation, which stays as the record.
    """
    ref = Ref(namespace, name or _named(target["name"], f"compromised-{fingerprint[:8]}"))
    existing = next((each for each in rotations if Ref.of(each) == ref), None)
    if existing is not None:
        _must_be_of(existing, target)
        if not existing["spec"].get("compromised", fingerprint).startswith(fingerprint):
            _must_not_be_a_record(existing)
    return Request(target, ref, existing, "compromised", fingerprint)


def moment(existing: Manifest | None, now: datetime) -> datetime:
    """Return the first whole second in which the credential in use cannot have been issued.

    Issue times have whole seconds: a credential issued in the second of a request would count as
    its result. This also holds if the local clock is behind the operator's.
    """
    following = now.replace(microsecond=0) + SECOND
    last = ((existing or {}).get("status") or {}).get("lastRotated")
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
    """Return the CredentialRotation of that name, None if there is none.

    Raises `FaultyManifests` if it serves another purpose, because a request would overwrite it.
    """
    existing = next((each for each in rotations if each["metadata"]["name"] == name), None)
    if existing is not None:
        _must_be_of(existing, target)
        _must_not_be_a_record(existing)
    return existing


def _must_be_of(existing: Manifest, target: Manifest) -> None:
    theirs = existing["spec"]["target"]
    if theirs != target:
        sentence = f"already rotates {theirs['kind']} {theirs['name']}; choose another --name"
        raise FaultyManifests([ManifestFault("", f"{KIND} {Ref.of(existing)}", "", sentence)])


def _must_not_be_a_record(existing: Manifest) -> None:
    if "compromised" in existing["spec"]:
        sentence = "is the record of a compromised root or key; choose another --name"
        raise FaultyManifests([ManifestFault("", f"{KIND} {Ref.of(existing)}", "", sentence)])


def _own(target: Manifest) -> str:
    return _named(target["name"], "rotation")


def _named(target: str, suffix: str) -> str:
    return f"{target[: NAME_LIMIT - len(suffix) - 1].rstrip('-.')}-{suffix}"


def target_of(kind: str, name: str) -> Manifest:
    """Return the value of `spec.target`; raises `FaultyManifests` for a kind it cannot name."""
    if kind not in set(TargetKind):
        known = " or ".join(TargetKind)
        raise FaultyManifests(
            [ManifestFault("", f"{kind} {name}", "", f"cannot be rotated; name a {known}")]
        )
    return {"kind": kind, "name": name}
