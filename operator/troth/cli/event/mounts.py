"""The mounted identity of a producer or consumer, and the policy that a command is about."""

from dataclasses import dataclass
from pathlib import Path

from troth.cli.inputs.single import fault
from troth.documents.identity.document import Messages
from troth.edge.events.rejection import RejectedError
from troth.edge.events.rights import Rights, rights_of
from troth.edge.identity.files import Identity
from troth.edge.identity.snapshot import IdentityError, Snapshot


@dataclass(frozen=True, slots=True)
class Mounted:
    """A mounted identity, and its content when the command began."""

    identity: Identity
    snapshot: Snapshot


@dataclass(frozen=True, slots=True)
class Choice:
    """A policy as namespace/name, and a group if the policy has several."""

    policy: str
    group: str | None = None

    def consumed(self, snapshot: Snapshot) -> Rights | None:
        """Return the rights of this workload to consume by the policy, None without them."""
        try:
            return rights_of(snapshot, self.policy, "Consume", self.group)
        except RejectedError:
            return None


def mounted(identity: Path, bundle: Path, schemas: Path) -> Mounted:
    """Read a mounted identity; raises `FaultyManifests` if it is unusable."""
    mount = Identity(identity, bundle, schemas=schemas)
    try:
        return Mounted(mount, mount.current)
    except IdentityError as error:
        raise fault("", f"{error}; name the mounts with --identity and --bundle") from None


def consumed(
    snapshot: Snapshot, topic: str | None, policy: str | None, group: str | None
) -> Choice:
    """Return the policy by which a workload consumes messages of a topic.

    A policy that an option names is not checked here. Raises `FaultyManifests` if none is named and
    not exactly one fits.
    """
    if policy is not None:
        return Choice(policy, group)
    entries = [
        each
        for each in snapshot.document.messages
        if each.action == "Consume" and group in (None, each.group)
    ]
    entry = _one_of(snapshot, entries, "consume", topic, _said(None, group))
    return Choice(entry.policy, entry.group)


def published(snapshot: Snapshot, topic: str | None, policy: str | None) -> Messages:
    """Return the entry by which a workload publishes to a topic; raises `FaultyManifests`."""
    entries = [
        each
        for each in snapshot.document.messages
        if each.action == "Publish" and policy in (None, each.policy)
    ]
    return _one_of(snapshot, entries, "publish", topic, _said(policy, None))


def _one_of(
    snapshot: Snapshot, entries: list[Messages], verb: str, topic: str | None, said: str
) -> Messages:
    if len(entries) > 1 and topic is not None:
        # An unknown topic is no reason to choose: the verdict says that the topic is wrong.
        entries = [each for each in entries if concerns(snapshot, each, topic)] or entries
    if len(entries) == 1:
        return entries[0]
    if not entries:
        raise fault(
            "",
            f"identity.json of {snapshot.spiffe_id} has no grant to {verb}{said}; declare one, or "
            "name the files of another identity with --identity",
        )
    names = " or ".join(
        each.policy + (f" --group {each.group}" if each.group else "") for each in entries
    )
    raise fault("--policy", f"required, because there are several grants to {verb}; write {names}")


def _said(policy: str | None, group: str | None) -> str:
    by = f" by the TopicPolicy {policy}" if policy is not None else ""
    return by + (f" with the group {group}" if group is not None else "")


def concerns(snapshot: Snapshot, entry: Messages, topic: str) -> bool:
    """Return whether a topic is one of the entry's policy, or its dead-letter or retry topic."""
    for other in (entry.dead_letter, entry.retry):
        if other is not None and other.topic == topic:
            return True
    return Rights(snapshot, entry).includes(topic)
